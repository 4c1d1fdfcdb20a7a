import math
import subprocess
import sys

import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import lightning_tricks
from lightning_tricks import CosineDecay, Mixup, StepDecay
from lightning_tricks.study import Ablation, Arm
from lightning_tricks.study.runs.training import HELD_OUT, Training
from tests.study.small import CPU, Data, Module

ARMS = {"cosine": lambda: [CosineDecay()], "module": Arm(module_factory=Module)}


def study(arms=ARMS, **kwargs):
    return Ablation(Module, Data, arms, **({"num_seeds": 3, "max_epochs": 2, "trainer_options": CPU} | kwargs))


@pytest.fixture
def done(monkeypatch):
    """The trainings that were done, none of which takes any time; an arm of more tricks is a little better."""
    calls = []

    def run(self, arm, seed, *, part, lr=None, on_epoch_end=None):
        calls.append((len(arm), seed, part, lr))
        value = 0.5 + 0.01 * (seed % 3) + 0.1 * len(arm) + 0.001 * ((seed * len(arm)) % 2)
        if lr is not None and part == HELD_OUT:
            value = -abs(lr - 0.1 * (1 + seed + len(arm)))
        sizes = {"train_size": 300, "eval_size": 101}
        measured = {"metric": self.metric, "value": value, "diverged": False, "lr": lr, "seconds": 1.0}
        return {**measured, "peak_memory": 5, **sizes}

    monkeypatch.setattr(Training, "run", run)
    return calls


def test_a_study_from_end_to_end(tmp_path):
    runs = study(num_seeds=2, directory=tmp_path)
    result = runs.run(progress=False)
    assert [row.arm for row in result.rows] == ["baseline", "cosine", "module"]
    assert result.rows[2].difference == 0, "the same module is the same run"
    confirmed = runs.confirm("cosine", num_seeds=2, progress=False)
    assert [(record["arm"], record["seed"], record["eval_size"]) for record in confirmed.records] == [
        ("baseline", 2, 6),
        ("cosine", 2, 6),
        ("baseline", 3, 6),
        ("cosine", 3, 6),
    ]
    assert confirmed.part == "test"


def test_records_are_in_running_order(done):
    runs = study(num_seeds=2)
    runs.run(progress=False)
    pairs = [(arm, seed) for seed in (0, 1) for arm in ("baseline", "cosine", "module")]
    assert runs.runs() == pairs
    assert [(record["arm"], record["seed"]) for record in runs.records()] == pairs
    assert set(runs.records()[0]) == {
        *("arm", "seed", "metric", "value", "diverged", "lr", "seconds", "peak_memory", "train_size", "eval_size")
    }
    assert {part for _, _, part, _ in done} == {"validation"}


def test_nothing_is_done_twice(done, tmp_path):
    first = study(directory=tmp_path).run(progress=False)
    assert len(done) == 9
    again = study(directory=tmp_path).run(progress=False)
    assert len(done) == 9
    assert again.records == first.records
    assert again.rows == first.rows


def test_an_interrupted_study_goes_on(done, tmp_path, monkeypatch):
    real, count = Training.run, iter(range(100))

    def interrupted(self, *args, **kwargs):
        if next(count) == 4:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Training, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(directory=tmp_path).run(progress=False)
    partial = study(directory=tmp_path).result()
    assert len(partial.records) == 4
    assert partial.missing == [("cosine", 1), ("module", 1), ("baseline", 2), ("cosine", 2), ("module", 2)]
    assert [row.num_seeds for row in partial.rows] == [2, 1, 1]
    assert [row.verdict for row in partial.rows] == ["", *["no verdict, 5 runs missing"] * 2]
    resumed = study(directory=tmp_path).run(progress=False)
    assert len(done) == 9
    assert resumed.records == study().run(progress=False).records


def test_a_study_that_could_not_start_leaves_its_directory_to_another(tmp_path):
    with pytest.raises(ValueError, match="invalid accelerator"):
        study(directory=tmp_path, trainer_options=CPU | {"accelerator": "cpuu"}).run(progress=False)
    result = study(directory=tmp_path, num_seeds=1, max_epochs=1).run(progress=False)
    assert result.missing == []


def test_shards_do_all_and_nothing_twice(done, tmp_path):
    runs = study(directory=tmp_path)
    shares = [runs.runs(shard) for shard in ("1/4", (2, 4), "3/4", "4/4")]
    assert sorted(pair for share in shares for pair in share) == sorted(runs.runs())
    assert [len(share) for share in shares] == [3, 2, 2, 2]
    result = study(directory=tmp_path).run(shard="2/4", progress=False)
    assert [(record["arm"], record["seed"]) for record in result.records] == runs.runs("2/4")
    assert len(result.missing) == 7
    for shard in ("1/4", "3/4", "4/4"):
        study(directory=tmp_path).run(shard=shard, progress=False)
    assert len(done) == 9
    assert runs.result().missing == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"num_seeds": 4}, "num_seeds: 3 there, 4 here"),
        ({"max_epochs": 3}, "max_epochs: 2 there, 3 here"),
        ({"metric": "weight", "mode": "max"}, 'metric: "val_acc" there, "weight" here'),
        ({"mode": "min"}, 'mode: "max" there, "min" here'),
        ({"question": "recipe"}, "question:"),
        ({"lr_grid": [0.1, 0.2]}, "lr_grid: null there"),
        ({"settings": {"data": "digits"}}, "settings"),
        ({"trainer_options": CPU | {"precision": 64}}, "trainer_options.precision"),
        ({"arms": {"cosine": lambda: [CosineDecay(min_factor=0.1)], "module": ARMS["module"]}}, "min_factor"),
        ({"arms": {"cosine": lambda: [StepDecay(steps=3)] if False else [], "module": ARMS["module"]}}, "arms.cosine"),
        ({"arms": {"cosine": ARMS["cosine"]}}, "arms.module"),
    ],
)
def test_a_directory_of_another_study_is_refused(changed, words, done, tmp_path):
    study(directory=tmp_path).run(progress=False)
    with pytest.raises(ValueError, match=rf"holds another study \(.*{words}"):
        study(directory=tmp_path, **changed)


def test_a_margin_beyond_every_difference_is_doubted_once(monkeypatch, done):
    # The margin is in the metric's unit: someone who gives 5 means points.
    doubtful = study(margin=5, num_seeds=1)
    message = r"margin=5, for all values of val_acc lie in \[0, 1\].*margin=0\.05"
    with pytest.warns(UserWarning, match=message) as caught:
        doubtful.run(progress=False)
    doubtful.result()
    assert len(caught) == 1
    accurate = Training.run

    def loss(self, *args, **kwargs):
        run = accurate(self, *args, **kwargs)
        return run | {"value": run["value"] + 1}

    monkeypatch.setattr(Training, "run", loss)
    study(margin=5, num_seeds=1).run(progress=False)  # a warning would be an error here


@pytest.mark.parametrize(
    ("stated", "later", "words"),
    [
        ({}, {"margin": 0.01}, "margin: null there, 0.01 here"),
        ({"margin": 0.01}, {}, "margin: 0.01 there, null here"),
        ({"margin": 0.01}, {"margin": 0.05}, "margin: 0.01 there, 0.05 here"),
        ({}, {"confidence": 0.5}, "confidence: 0.95 there, 0.5 here"),
    ],
)
def test_margin_and_confidence_are_stated_at_the_start(stated, later, words, done, tmp_path):
    first = study(directory=tmp_path, **stated)
    first.run(progress=False)
    with pytest.raises(ValueError, match=rf"holds another study \({words}\)"):
        study(directory=tmp_path, **later)
    again = study(directory=tmp_path, **stated)
    assert (again.result().margin, again.result().confidence) == (stated.get("margin"), 0.95)
    confirmed = again.confirm("cosine", num_seeds=2, progress=False)
    assert (confirmed.margin, confirmed.settings["margin"]) == (stated.get("margin"), stated.get("margin"))
    for name, value in later.items():
        with pytest.raises(AttributeError, match=name):
            setattr(again, name, value)


def test_a_factory_without_source_is_refused_where_the_study_must_be_known_again(done, tmp_path):
    space = {"__name__": "somewhere", "Module": Module}
    exec("def factory():\n    return Module()", space)
    Ablation(space["factory"], Data, ARMS)
    with pytest.raises(ValueError, match=r"needs the source of somewhere\.factory .* but found none; define it in"):
        Ablation(space["factory"], Data, ARMS, directory=tmp_path)


def test_recipe(done):
    runs = study(question="recipe", arms=ARMS | {"third": list})
    result = runs.run(progress=False)
    names = ["baseline", "recipe", "recipe less cosine", "recipe less module", "recipe less third"]
    assert [row.arm for row in result.rows] == names
    assert [row.reference for row in result.rows] == ["baseline", "baseline", "recipe", "recipe", "recipe"]
    assert [row.verdict for row in result.rows] == ["", "helps", "hurts", "hurts", "hurts"]
    assert {tricks for tricks, *_ in done} == {0, 2, 3}


def test_a_recipe_that_cannot_be_trained_is_refused_at_once():
    arms = {"cosine": lambda: [CosineDecay()], "step": lambda: [StepDecay()], "mixup": lambda: [Mixup()]}
    study(arms=arms)
    with pytest.raises(MisconfigurationException, match=r"arm 'recipe' cannot be trained: .*CosineDecay and StepDecay"):
        study(arms=arms, question="recipe")


def test_each_run_chooses_its_own_learning_rate(done, tmp_path):
    grid = [0.3, 0.1, 0.2]
    runs = study(lr_grid=grid, directory=tmp_path)
    result = runs.run(progress=False)
    # The nearest to 0.1·(1 + seed + tricks) is the best on the fifth that is held out.
    assert [record["lr"] for record in result.records] == [0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3]
    assert len(done) == 9 * 4
    assert {(part, lr) for _, _, part, lr in done if part == HELD_OUT} == {(HELD_OUT, lr) for lr in grid}
    assert "trial" not in result.records[0]
    study(lr_grid=grid, directory=tmp_path).run(progress=False)
    assert len(done) == 9 * 4
    (tmp_path / "runs" / "seed-0001-arm-01-cosine.json").unlink()
    study(lr_grid=grid, directory=tmp_path).run(progress=False)
    assert done[36:] == [(1, 1, "validation", 0.3)], "its trials are on disk"


def test_mode_decides_which_rate_is_best(done):
    assert study(lr_grid=[0.1, 0.9], mode="min").run(progress=False).records[0]["lr"] == 0.9


def test_confirmation_has_fresh_seeds_and_is_done_once(done, tmp_path):
    study(directory=tmp_path).run(progress=False)
    before = len(done)
    result = study(directory=tmp_path).confirm("cosine", progress=False)
    assert [row.arm for row in result.rows] == ["baseline", "cosine"]
    assert result.rows[1].verdict == "helps"
    assert {(seed, part) for _, seed, part, _ in done[before:]} == {(seed, "test") for seed in range(3, 13)}
    again = study(directory=tmp_path).confirm("cosine", progress=False)
    assert (again.records, len(done)) == (result.records, before + 20)
    for words, other in {"cosine": {"arm": "module"}, "num_seeds": {"arm": "cosine", "num_seeds": 5}}.items():
        with pytest.raises(
            ValueError, match=rf"holds another study \(.*{words}.*the test part answers one question once"
        ):
            study(directory=tmp_path).confirm(progress=False, **other)
    assert len(study(directory=tmp_path).run(progress=False).records) == 9, "the study itself is as it was"


def test_confirmation_in_memory_is_done_once_too(done):
    runs = study()
    runs.confirm("cosine", num_seeds=2, progress=False)
    assert len(runs.confirm("cosine", num_seeds=2, progress=False).records) == len(done) == 4
    with pytest.raises(ValueError, match=r'confirmed arm: "cosine" there, "module" here.*one question once'):
        runs.confirm("module", num_seeds=2, progress=False)


def test_confirmation_of_a_recipe_is_against_the_baseline(done):
    result = study(question="recipe").confirm("recipe less module", num_seeds=2, progress=False)
    assert [(row.arm, row.reference) for row in result.rows] == [
        ("baseline", "baseline"),
        ("recipe less module", "baseline"),
    ]


def test_what_cannot_be_confirmed():
    with pytest.raises(ValueError, match="arm to be one of 'cosine', 'module', but got 'baseline'"):
        study().confirm("baseline")
    with pytest.raises(ValueError, match="num_seeds to be at least 1, but got 0"):
        study().confirm("cosine", num_seeds=0)


def test_a_diverged_arm_is_a_row(tmp_path):
    class NotANumber(Module):
        def validation_step(self, batch, batch_idx):
            self.log("val_acc", math.nan)

    arms = {"nan": Arm(module_factory=NotANumber), "same": list}
    rows = study(arms, num_seeds=2, max_epochs=1, directory=tmp_path).run(progress=False).rows
    assert [(row.arm, row.diverged) for row in rows] == [("baseline", 0), ("nan", 2), ("same", 0)]
    assert rows[1].verdict == "diverged"
    assert rows[2].difference == 0


def test_progress(done, capsys):
    study().run()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("run 1 of 9 done: baseline, seed 0; about ")
    study().run(progress=False)
    assert capsys.readouterr().err == ""


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="needs datamodule to be a function, but got Data"):
        Ablation(Module, Data(seed=0), {})
    with pytest.raises(TypeError, match="needs module_factory to be a function, but got NoneType"):
        Ablation(None, Data, {})
    with pytest.raises(
        TypeError, match=r"Ablation calls datamodule as \(seed=\), but the one given does not take that"
    ):
        Ablation(Module, lambda: None, {})
    with pytest.raises(
        TypeError, match=r"Ablation calls module_factory as \(lr=\), but the one given does not take that"
    ):
        Ablation(lambda: Module(), Data, {}, lr_grid=[0.1, 0.2])
    with pytest.raises(TypeError, match=r"module_factory of arm 'a' as \(prepared, lr=\)"):
        study({"a": Arm(module_factory=lambda teacher: None, prepare=print)}, lr_grid=[0.1, 0.2])
    with pytest.raises(TypeError, match="needs arm 'mixup' to be an Arm or a function"):
        study({"mixup": []})
    with pytest.raises(TypeError, match="needs module_factory to be a function, but got Module; each run"):
        Ablation(Module(), Data, ARMS)
    with pytest.raises(TypeError, match=r"Ablation: arm 'm' needs callbacks to make a list .* it made Mixup\."):
        study({"m": Arm(lambda: Mixup())})
    with pytest.raises(TypeError, match="needs arms to map names to arms"):
        study([Mixup()])
    with pytest.raises(ValueError, match="num_seeds to be at least 1, but got 0"):
        study(num_seeds=0)
    with pytest.raises(ValueError, match="max_epochs to be at least 1, but got -1"):
        study(max_epochs=-1)
    with pytest.raises(ValueError, match="mode to be one of 'max', 'min', but got 'best'"):
        study(mode="best")
    with pytest.raises(ValueError, match="margin to be above 0, but got -1"):
        study(margin=-1)
    with pytest.raises(ValueError, match="confidence to be above 0 and below 1, but got 2"):
        study(confidence=2)
    with pytest.raises(ValueError, match=r"lr_grid to hold two or more different rates, but got \[0.1, 0.1\]"):
        study(lr_grid=[0.1, 0.1])
    with pytest.raises(ValueError, match="lr_grid to be above 0, but got 0"):
        study(lr_grid=[0, 0.1])
    with pytest.raises(ValueError, match=r"trainer_options without callbacks.* but got \['callbacks', 'max_epochs'\]"):
        study(trainer_options={"callbacks": [], "max_epochs": 3})


def test_names_are_public_and_import_without_the_extra():
    assert (lightning_tricks.Ablation, lightning_tricks.Arm) == (Ablation, Arm)
    # Lightning and torchmetrics import some of these themselves where they are installed.
    code = (
        "import sys, lightning.pytorch, torchmetrics\n"
        "before = set(sys.modules)\n"
        "import lightning_tricks.study, lightning_tricks.cli\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new & {'sklearn', 'scipy', 'rich', 'jsonargparse', 'matplotlib'}), 'lightning_tricks' in new)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] True"
