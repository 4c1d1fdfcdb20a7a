import sys

import pytest

from lightning_tricks.cli import config_errors
from lightning_tricks.cli.arms import TRICKS
from lightning_tricks.cli.command import run_command

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
        ("--trainer.callbacks+=lightning_trick.Mixup", "Mixup: No module named 'lightning_trick'"),
        (
            "--trainer.callbacks+=Mixup --trainer.callbacks.alpa 1",
            "there is no Mixup argument 'alpa'. Did you mean 'alpha'?",
        ),
        ("--trainer.callbacks+=Mixup --trainer.callbacks.alpha -1", "Mixup needs alpha to be at least 0, but got -1.0"),
        ("--model Clasifier", "there is no module 'Clasifier'. Did you mean 'Classifier'?"),
        (
            "--model resnet18",
            "there is no module 'resnet18'. There are: Classifier, or one of your own by its full path; "
            "for a net of torchvision: --model.model.",
        ),
        ("--model.model resnet81", "there is no model 'resnet81'. Did you mean 'resnet18'?"),
        ("--model.modle tiny", "there is no Classifier argument 'modle'. Did you mean 'model'?"),
        ("--data CIFAR01DataModule", "there is no data module 'CIFAR01DataModule'. Did you mean 'CIFAR10DataModule'?"),
        ("--data ImageFolderDataModule", "ImageFolderDataModule: the following arguments are required: root"),
        ("--data.seed -1", "DigitsDataModule needs seed to be at least 0, but got -1"),
    ],
)
def test_one_plain_line(words, message, monkeypatch, capsys):
    assert refusal(words, monkeypatch, capsys) == (2, f"lightning-tricks: {message}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--trainer.max_epochs many", "Given value: many"),
        ("--config nowhere.yaml", "File does not exist"),
        ("--nonsense 3", "unrecognized arguments: --nonsense 3"),
    ],
)
def test_other_mistakes_in_the_parsers_own_words(words, message, monkeypatch, capsys):
    code, text = refusal(words, monkeypatch, capsys)
    assert code == 2
    assert message in text
    assert "usage" not in text


def test_every_trick_is_among_the_names(monkeypatch, capsys):
    _, text = refusal("--trainer.callbacks+=xyzzy", monkeypatch, capsys)
    names = text.partition("There are: ")[2].partition(", or one of your own")[0].split(", ")
    made = {type(callback).__name__ for trick in TRICKS.values() for callback in trick.callbacks(4)}
    assert made | {"Distillation", "BatchPreview", "ModelCheckpoint"} <= set(names)
    assert not {"BatchTrick", "LRTrick", "Callback"} & set(names)


@pytest.mark.parametrize(
    "words",
    [f"--model {name}" for name in config_errors.MODULES]
    + [f"--data {name}" for name in config_errors.DATA_MODULES if name != "ImageFolderDataModule"]
    + ["--data ImageFolderDataModule --data.root folder"],
)
def test_the_names_that_it_lists_are_known(words, monkeypatch, capsys):
    assert refusal(f"{words} --print_config", monkeypatch, capsys) == (0, "")
