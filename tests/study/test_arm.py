import pytest

from lightning_tricks.study import Arm
from lightning_tricks.study.arm import arms_of, references_of

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


def test_bad_arms_are_refused():
    with pytest.raises(TypeError, match=r"expected arm 'mixup' to be an Arm or a function .* but got list"):
        arms_of("screen", {"mixup": []})
    with pytest.raises(TypeError, match="expected the names of arms to be strings, but got 3"):
        arms_of("screen", {3: A})
    for name in ("baseline", " "):
        with pytest.raises(ValueError, match=f"{name!r} cannot be the name of an arm"):
            arms_of("screen", {name: A})
    with pytest.raises(ValueError, match="expected `question` to be 'screen' or 'recipe', but got 'all'"):
        arms_of("all", {"a": A})
    with pytest.raises(ValueError, match=r"a recipe needs at least two tricks, but got \['a'\]"):
        arms_of("recipe", {"a": A})
    with pytest.raises(ValueError, match=r"a run has one module, but \['b', 'd'\] each bring"):
        arms_of("recipe", {"a": A, "b": B, "d": B})
    for name in ("callbacks", "module_factory", "prepare"):
        with pytest.raises(TypeError, match=f"Arm: expected `{name}` to be a function, but got list"):
            Arm(**{name: [1]})
