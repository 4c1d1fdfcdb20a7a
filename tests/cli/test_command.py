import csv
import subprocess
import sys

import pytest

import lightning_tricks.cli as cli
from lightning_tricks.cli import command
from lightning_tricks.cli.arms import digit_arms

OPTIONS = {"seeds", "epochs", "batch_size", "lr", "accelerator", "out"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One small study through the command, started as a user starts it."""
    out = tmp_path_factory.mktemp("study") / "new" / "folder"
    words = ["ablate", "--seeds", "2", "--epochs", "1", "--batch_size", "600", "--lr", "0.01", "--out", str(out)]
    result = subprocess.run(
        [sys.executable, "-m", "lightning_tricks", *words], capture_output=True, text=True, check=True
    )
    with (out / "runs.csv").open() as file:
        return result, list(csv.DictReader(file))


def test_table_has_every_arm_and_the_caption(finished):
    stdout = finished[0].stdout
    for arm in ("baseline", *digit_arms(lr=0.01, max_epochs=1)):
        assert sum(f" {arm} " in line for line in stdout.splitlines() if "│" in line) == 1
    assert "With 2 seeds this is a demonstration" in " ".join(stdout.split())


def test_stderr_holds_the_progress_alone(finished):
    stderr = finished[0].stderr
    assert "run" in stderr
    assert "left" in stderr
    assert "Warning" not in stderr
    assert "Trainer" not in stderr
    assert len(stderr.strip().splitlines()) == 1


def test_csv_has_a_line_a_run(finished):
    rows = finished[1]
    assert [(row["arm"], row["seed"]) for row in rows] == [
        (arm, seed) for seed in "01" for arm in ("baseline", *digit_arms(lr=0.01, max_epochs=1))
    ]
    assert {(row["metric"], row["train_size"], row["validation_size"]) for row in rows} == {("val_acc", "1077", "360")}
    assert all(0 <= float(row["value"]) <= 1 and float(row["seconds"]) > 0 for row in rows)


@pytest.fixture
def studies(monkeypatch):
    """The studies that the command would run, with their runs replaced by a number."""
    made = []

    class Stub(command.Ablation):
        def records(self, on_epoch_end=None):
            made.append(self)
            for arm, seed in self.runs():
                sizes = {"train_size": 1077, "validation_size": 360}
                yield {"arm": arm, "seed": seed, "metric": "val_acc", "value": 0.5, "seconds": 1.0, **sizes}

    monkeypatch.setattr(command, "Ablation", Stub)
    return made


@pytest.mark.parametrize("batch_size", ["--batch_size 7", "--batch-size 7", "--batch-size=7"])
def test_options_reach_the_study(batch_size, studies, capsys):
    command.run_command(["ablate", *f"--seeds 4 --epochs 3 {batch_size} --lr 0.25 --accelerator auto".split()])
    (study,) = studies
    assert (study.num_seeds, study.max_epochs) == (4, 3)
    assert study.module_factory().lr == 0.25
    data = study.datamodule(seed=9)
    assert (data.batch_size, data.seed) == (7, 9)
    assert study.trainer_options == {"accelerator": "auto", "devices": 1}
    assert "mean of 4 seeds" in " ".join(capsys.readouterr().out.split())


def test_defaults(studies, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command.run_command(["ablate"])
    (study,) = studies
    assert (study.num_seeds, study.trainer_options["accelerator"]) == (3, "cpu")
    assert list(tmp_path.iterdir()) == []


def test_only_the_name_of_an_option_is_respelled(studies, tmp_path):
    command.run_command(["ablate", f"--out={tmp_path / 'my-study--1'}"])
    command.run_command(["ablate", "--out", str(tmp_path / "--another-one")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["--another-one", "my-study--1"]


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        command.run_command(["ablate", "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS:
        head, _, explanation = text.partition(f"--{option} ")[2].partition(f"--{option} ")
        assert head
        assert len(explanation.partition("(type:")[0].split()) >= 4, f"--{option} says too little"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ablate", "--seeds", "0"], "seeds"),
        (["ablate", "--epochs", "many"], "epochs"),
        (["ablate", "--lr", "-1"], "lr"),
        (["ablat"], "ablate"),
        ([], "subcommand"),
    ],
)
def test_bad_words_are_refused(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.run_command(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name in {"sklearn", "rich"} else object())
    with pytest.raises(SystemExit, match=r'needs rich, sklearn: pip install "lightning-tricks\[cli\]"'):
        cli.main()


def test_main_reads_the_words_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lightning-tricks", "--help"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert "usage: lightning-tricks" in capsys.readouterr().out
