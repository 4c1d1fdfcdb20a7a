import shlex
import sys

import lightning.pytorch as pl
import pytest
import yaml

from lightning_tricks import data, models
from lightning_tricks.cli.command import run_command
from lightning_tricks.cli.tricks import TRICKS

CHOICE = "--trainer.callbacks+=RandomChoice"


def refusal(words, monkeypatch, capsys):
    """What ``fit`` says to these words, and how it ends."""
    monkeypatch.setattr(sys, "argv", ["lightning-tricks", "fit", *words.split()])
    with pytest.raises(SystemExit) as stop:
        run_command()
    return stop.value.code, capsys.readouterr().err.removeprefix("Seed set to 0\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--trainer.callbacks Mixupp", "there is no callback 'Mixupp'. Did you mean 'Mixup'?"),
        (
            "--trainer.callbacks+=label_smoothing",
            "there is no callback 'label_smoothing'. Did you mean 'LabelSmoothing'?",
        ),
        ("--trainer.callbacks+=EarlyStoping", "there is no callback 'EarlyStoping'. Did you mean 'EarlyStopping'?"),
        (f"{CHOICE} --trainer.callbacks.tricks+=Cutmixx", "there is no callback 'Cutmixx'. Did you mean 'CutMix'?"),
        (
            "--trainer.callbacks+=lightning_tricks.Mixupp",
            "there is no lightning_tricks class 'Mixupp'. Did you mean 'Mixup'?",
        ),
        (
            "--trainer.callbacks+=Mixup --trainer.callbacks.alpha -1",
            "Mixup needs alpha to be at least 0, but got -1.0.",
        ),
        ("--model Clasifier", "there is no module 'Clasifier'. Did you mean 'Classifier'?"),
        (
            "--model resnet18",
            "there is no module 'resnet18'. There are: Classifier, or one of your own by its full path; "
            "for a net of torchvision: --model.model.",
        ),
        ("--model.model resnet81", "there is no model 'resnet81'. Did you mean 'resnet18'?"),
        ("--data CIFAR01DataModule", "there is no data module 'CIFAR01DataModule'. Did you mean 'CIFAR10DataModule'?"),
        ("--data.seed -1", "DigitsDataModule needs seed to be at least 0, but got -1."),
    ],
)
def test_one_plain_line(words, message, monkeypatch, capsys):
    assert refusal(words, monkeypatch, capsys) == (2, f"lightning-tricks: {message}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--trainer.max_epochs many", "Given value: many"),
        ("--trainer.callbacks+=lightning_trick.Mixup", "No module named 'lightning_trick'"),
        ("--trainer.callbacks+=Mixup --trainer.callbacks.alpa 1", "Option 'alpa' is not accepted"),
        ("--model.modle tiny", "Option 'modle' is not accepted"),
        ("--data ImageFolderDataModule", "the following arguments are required: root"),
        ("--data [", "["),
        ("--config nowhere.yaml", "File does not exist"),
        ("--nonsense 3", "unrecognized arguments: --nonsense 3"),
    ],
)
def test_other_mistakes_in_the_parsers_own_words(words, message, monkeypatch, capsys):
    code, text = refusal(words, monkeypatch, capsys)
    assert code == 2
    assert message in text
    assert "usage" not in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"trainer": {"callbacks": [{"class_path": "Mixup"}, {"class_path": "Cutmixx"}]}}, "no callback 'Cutmixx'"),
        ({"trainer": {"callbacks": {"class_path": "Cutmixx"}}}, "no callback 'Cutmixx'"),
        (
            {
                "trainer": {
                    "callbacks": [{"class_path": "RandomChoice", "init_args": {"tricks": [{"class_path": "Cutmixx"}]}}]
                }
            },
            "no callback 'Cutmixx'",
        ),
        ({"model": {"class_path": "Clasifier", "init_args": {"lr": 0.1}}}, "no module 'Clasifier'"),
        ({"data": {"class_path": "DigitDataModule"}}, "no data module 'DigitDataModule'"),
        ({"data": {"class_path": "lightning_tricks.data.DigitDataModule"}}, "no lightning_tricks.data class 'DigitD"),
    ],
)
def test_a_misspelt_class_in_a_file_is_named(config, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    code, text = refusal(f"--config {tmp_path}/run.yaml", monkeypatch, capsys)
    assert code == 2
    assert text.startswith(f"lightning-tricks: there is {message}")
    assert "Did you mean '" in text


@pytest.mark.parametrize(
    "words",
    [
        "'--trainer.callbacks={class_path: Cutmixx}'",
        "--trainer.callbacks.class_path=Cutmixx",
        "--trainer.callbacks+=RandomChoice --trainer.callbacks.init_args.tricks+=Cutmixx",
    ],
)
def test_a_misspelt_class_is_named_in_every_spelling_of_the_option(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lightning-tricks", "fit", *shlex.split(words)])
    with pytest.raises(SystemExit, match="2"):
        run_command()
    assert "there is no callback 'Cutmixx'. Did you mean 'CutMix'?" in capsys.readouterr().err


class OwnCallback(pl.Callback):
    pass


def test_another_mistake_is_not_blamed_on_a_class_of_the_users_own(monkeypatch, capsys):
    words = "--trainer.callbacks+=OwnCallback --trainer.max_epochs many"
    _, text = refusal(words, monkeypatch, capsys)
    assert "there is no callback" not in text
    assert "Given value: many" in text


def test_every_trick_is_among_the_names(monkeypatch, capsys):
    _, text = refusal("--trainer.callbacks+=xyzzy", monkeypatch, capsys)
    names = text.partition("There are: ")[2].partition(", or one of your own")[0].split(", ")
    made = {type(callback).__name__ for trick in TRICKS.values() for callback in trick.callbacks(4)}
    assert made | {"Distillation", "BatchPreview", "ModelCheckpoint"} <= set(names)
    assert not {"BatchTrick", "LRTrick", "Callback"} & set(names)


@pytest.mark.parametrize(
    "words",
    [f"--model {name}" for name in models.__all__]
    + [f"--data {name}" for name in data.__all__ if name not in {"ImageFolderDataModule", "DataError"}]
    + ["--data ImageFolderDataModule --data.root folder"],
)
def test_the_names_that_it_lists_are_known(words, monkeypatch, capsys):
    assert refusal(f"{words} --print_config", monkeypatch, capsys) == (0, "")
