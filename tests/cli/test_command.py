import dataclasses
import re
import subprocess
import sys
from importlib import metadata

import pytest

import lightning_tricks.cli as cli
from lightning_tricks.cli import command
from lightning_tricks.cli.command import SUBCOMMANDS, run_command
from lightning_tricks.cli.trainer_command import STAGES
from lightning_tricks.cli.tricks import DEFAULT_TRICKS
from lightning_tricks.data import ImageFolderDataModule
from tests.data.image_files import write_images


@pytest.fixture
def called(monkeypatch):
    """The options with which a stub subcommand was called."""
    calls = []
    stub = dataclasses.replace(SUBCOMMANDS["preview"], run=lambda *options: calls.append(options))
    monkeypatch.setitem(command.SUBCOMMANDS, "preview", stub)
    return calls


def help_of(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lightning-tricks", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", ["--batch_size 7", "--batch-size 7", "--batch-size=7"])
def test_hyphens_are_as_good_as_underscores(words, called):
    run_command(["preview", *words.split()])
    assert called[0][1].batch_size == 7


def test_only_the_name_of_an_option_is_respelled(called):
    run_command(["preview", "--out=my-pictures--1", "--tricks", "a-b"])
    assert (str(called[0][0].out), called[0][0].tricks) == ("my-pictures--1", "a-b")


@pytest.mark.parametrize(
    ("words", "augment"),
    [
        ("", True),
        ("--no-augment", False),
        ("--no_augment --tricks mixup", False),
        ("--augment", True),
        ("--augment false", False),
        ("--augment=false", False),
    ],
)
def test_a_flag_needs_no_value(words, augment, called):
    run_command(["preview", *words.split()])
    assert called[0][1].augment is augment


def test_version(monkeypatch, capsys):
    text = help_of(["--version"], monkeypatch, capsys)
    assert text == f"lightning-tricks {metadata.version('lightning-tricks')}\n"


def test_help_lists_every_subcommand(monkeypatch, capsys):
    text = help_of(["--help"], monkeypatch, capsys)
    assert text.startswith("usage: lightning-tricks")
    for name, summary in {**{name: entry.summary for name, entry in SUBCOMMANDS.items()}, **STAGES}.items():
        assert f"{name} " in text
        assert summary in " ".join(text.split())


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_explains_every_option(name, monkeypatch, capsys):
    text = help_of([name, "--help"], monkeypatch, capsys)
    words = " ".join(text.split())
    for group in SUBCOMMANDS[name].options:
        for field in dataclasses.fields(group):
            explanation = words.rpartition(f"--{field.name} {field.name.upper()} ")[2].partition("(type:")[0]
            assert len(explanation.split()) >= 4, f"--{field.name} says too little"
    assert f"  lightning-tricks {SUBCOMMANDS[name].examples[0]}\n" in text
    assert "<class" not in text


def test_help_names_the_tricks_without_the_option(monkeypatch, capsys):
    words = " ".join(help_of(["ablate", "--help"], monkeypatch, capsys).split())
    assert f"Without it {', '.join(DEFAULT_TRICKS[:-1])} and {DEFAULT_TRICKS[-1]} are." in words


@pytest.mark.parametrize("name", ["ablate", "preview"])
def test_help_lists_every_trick(name, monkeypatch, capsys):
    text = help_of([name, "--help"], monkeypatch, capsys)
    for trick, entry in command.TRICKS.items():
        assert f"  {trick:<18}{entry.summary}\n" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ablate", "--seeds", "0"], "seeds"),
        (["ablate", "--epochs", "many"], "epochs"),
        (["ablate", "--lr", "-1"], "lr"),
        (["ablate", "--margin", "0"], "margin"),
        (["ablate", "--loader-workers", "-1"], "loader_workers"),
        (["confirm"], "the following arguments are required: confirm.arm\n"),
        (["ablat"], "there is no subcommand 'ablat'. Did you mean 'ablate'?"),
        (["predict"], "There are: ablate, confirm, fit, preview, test, validate."),
        ([], "subcommand"),
    ],
)
def test_bad_words_are_refused(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_one_plain_line(workers, tmp_path, monkeypatch, capsys):
    data = ImageFolderDataModule(write_images(tmp_path, count=5), image_size=8, num_workers=workers)
    data.setup("fit")
    path = data.train.paths[0]
    path.write_bytes(path.read_bytes()[:150])
    stub = dataclasses.replace(SUBCOMMANDS["preview"], run=lambda *options: list(data.train_dataloader()))
    monkeypatch.setitem(command.SUBCOMMANDS, "preview", stub)
    with pytest.raises(SystemExit, match=r"^2$"):
        run_command(["preview"])
    assert re.fullmatch(rf"lightning-tricks: {path}: cannot read this image: [^\n]*\n", capsys.readouterr().err)


def test_ctrl_c_outside_a_training_ends_cleanly(monkeypatch, capsys):
    def interrupted(*options):
        raise KeyboardInterrupt

    stub = dataclasses.replace(SUBCOMMANDS["preview"], run=interrupted)
    monkeypatch.setitem(command.SUBCOMMANDS, "preview", stub)
    with pytest.raises(SystemExit, match="130"):
        run_command(["preview"])
    assert capsys.readouterr().err == "\nlightning-tricks: stopped\n"


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name in {"sklearn", "rich"} else object())
    with pytest.raises(SystemExit, match=r'needs rich, sklearn: pip install "lightning-tricks\[cli\]"'):
        cli.main()


def test_python_m_is_the_same_command():
    result = subprocess.run(
        [sys.executable, "-m", "lightning_tricks", "ablat"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "usage: lightning-tricks" in result.stderr
    assert "Did you mean 'ablate'?" in result.stderr
