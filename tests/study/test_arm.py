import pytest

from lightning_tricks import Mixup
from lightning_tricks.study import Arm
from lightning_tricks.study.arm import arms_of, references_of
from lightning_tricks.study.runs.store import run_name
from tests.plain import PlainModule

A, B, C = Arm(lambda: ["a"]), Arm(lambda: ["b"], module_factory=int), Arm(lambda: ["c"])


def test_screen_has_each_trick_alone():
    arms = arms_of("screen", {"a": A, "b": B})
    assert arms == {"baseline": (), "a": (A,), "b": (B,)}
    assert references_of("screen", arms) == {"a": "baseline", "b": "baseline"}


def test_recipe_leaves_one_out_at_a_time():
    arms = arms_of("recipe", {"a": A, "b": B, "c": C})
    assert arms == {
        "baseline": (),
        "recipe": (A, B, C),
        "recipe less a": (B, C),
        "recipe less b": (A, C),
        "recipe less c": (A, B),
    }
    assert references_of("recipe", arms) == {"recipe": "baseline"} | {f"recipe less {x}": "recipe" for x in "abc"}


def test_a_function_stands_for_its_callbacks():
    (arm,) = arms_of("screen", {"a": A.callbacks})["a"]
    assert arm == A


@pytest.mark.parametrize(
    ("made", "what"), [(Mixup(), "Mixup"), ([Mixup], r"\['type'\]"), (None, "NoneType"), ("mixup", "str")]
)
def test_what_is_made_must_be_a_list_of_callbacks(made, what):
    with pytest.raises(TypeError, match=rf"Arm needs callbacks to make a list of callbacks.* it made {what}\."):
        Arm(lambda: made).make_callbacks()


def test_what_is_prepared_reaches_the_callbacks():
    assert Arm(lambda alpha: (Mixup(alpha=alpha),)).make_callbacks(0.7)[0].alpha == 0.7
    assert Arm().make_callbacks() == []


def test_bad_arms_are_refused():
    with pytest.raises(TypeError, match=r"needs arm 'mixup' to be an Arm or a function .* but got list"):
        arms_of("screen", {"mixup": []})
    with pytest.raises(TypeError, match="needs the names of arms to be strings, but got 3"):
        arms_of("screen", {3: A})
    for name in ("baseline", " "):
        with pytest.raises(ValueError, match=f"neither empty nor 'baseline', but got {name!r}; rename it"):
            arms_of("screen", {name: A})
    with pytest.raises(ValueError, match="needs question to be one of 'screen', 'recipe', but got 'all'"):
        arms_of("all", {"a": A})
    with pytest.raises(ValueError, match=r"needs at least two tricks for a recipe, but got \['a'\]"):
        arms_of("recipe", {"a": A})
    with pytest.raises(ValueError, match=r"a run has one module, but got \['b', 'd'\]"):
        arms_of("recipe", {"a": A, "b": B, "d": B})
    with pytest.raises(TypeError, match=r"needs arms to map names to arms, such as .*, but got list"):
        arms_of("screen", [A])
    with pytest.raises(ValueError, match="needs arms to hold at least one arm beside the baseline, but got none"):
        arms_of("screen", {})
    with pytest.raises(TypeError, match=r"needs arm 'm' to be an Arm or a function .* but got Mixup"):
        arms_of("screen", {"m": Mixup()})
    with pytest.raises(TypeError, match=r"Arm needs callbacks to be a function, but got Mixup; .* `lambda:`"):
        Arm(Mixup())
    with pytest.raises(TypeError, match="Arm needs module_factory to be a function, but got PlainModule"):
        Arm(module_factory=PlainModule())
    for name in ("callbacks", "module_factory", "prepare"):
        with pytest.raises(TypeError, match=f"Arm needs {name} to be a function, but got list"):
            Arm(**{name: [1]})


@pytest.mark.parametrize("name", ["\ud800", "mixup \udfff"])
def test_a_name_that_no_file_can_hold_is_refused_before_anything_is_trained(name):
    with pytest.raises(ValueError, match=r"^Ablation needs names of arms that can be written as UTF-8, but got"):
        arms_of("screen", {name: A})


def test_names_may_differ_by_case_alone():
    names = ["mixup", "Mixup", "MIXUP", "mix/up", "mix-up", "../mixup"]
    assert list(arms_of("screen", dict.fromkeys(names, A))) == ["baseline", *names]
    files = {run_name(0, position, name, None).lower() for position, name in enumerate(names)}
    assert len(files) == len(names)
    assert not [name for name in files if "/" in name or ".." in name]
