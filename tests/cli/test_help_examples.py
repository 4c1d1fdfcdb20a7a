"""Every example of every ``--help``, run as it stands there, in the order of the subcommands."""

import re
import shlex
import sys
import textwrap

import pytest

from lightning_tricks.cli.command import SUBCOMMANDS, run_command
from lightning_tricks.cli.trainer_command import STAGES
from tests.cli.finished_runs import trainings  # noqa: F401 - a fixture
from tests.data.image_files import write_images


def help_of(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lightning-tricks", name, "--help"])
    with pytest.raises(SystemExit):
        run_command()
    return capsys.readouterr().out


def examples(text):
    return re.findall(r"^  lightning-tricks (.*)$", text.partition("\nexamples:\n")[2], re.MULTILINE)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "my_images", count=6)

    def start(words):
        monkeypatch.setattr(sys, "argv", ["lightning-tricks", *shlex.split(words)])
        run_command()

    return start


def test_of_the_study_and_the_preview(run, trainings, monkeypatch, capsys):  # noqa: F811 - trainings take no time here
    for name, subcommand in SUBCOMMANDS.items():
        lines = examples(help_of(name, monkeypatch, capsys))
        assert lines == list(subcommand.examples)
        for words in lines:
            run(words)
            assert "Written: " in capsys.readouterr().out


def test_of_the_trainer(run, tmp_path, monkeypatch, capsys):
    text = help_of("fit", monkeypatch, capsys)
    config = text.partition("tricks.yaml, for example:\n")[2].partition("\n\n")[0]
    (tmp_path / "tricks.yaml").write_text(textwrap.dedent(config))
    for stage in STAGES:
        lines = examples(help_of(stage, monkeypatch, capsys))
        assert lines
        for words in lines:
            if words.endswith("--print_config"):
                with pytest.raises(SystemExit, match="0"):
                    run(words)
                assert "CosineDecay" in capsys.readouterr().out
            else:
                run(words)
