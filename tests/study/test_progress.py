import io
import sys

import pytest

from lightning_tricks.study.runs.progress import StudyProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run_all(**kwargs):
    with StudyProgress(runs=2, epochs=3, **kwargs) as progress:
        for run in range(2):
            for _ in range(3 - run):
                progress.epoch()
            progress.run(f"mixup, seed {run}")


def test_elsewhere_each_run_is_a_line(capsys):
    run_all()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("run 1 of 2 done: mixup, seed 0; about ")
    assert first.endswith(" s left")
    assert second == "run 2 of 2 done: mixup, seed 1; about 0 s left"


def test_a_terminal_has_a_bar_that_ends_full(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run_all()
    text = terminal.getvalue()
    assert "run 1 of 2" in text
    assert "left" in text
    assert "100%" in text.splitlines()[-1] or "100%" in text.rsplit("\r", 2)[-2]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silence(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    run_all(show=False)
    assert sys.stderr.getvalue() == ""


def test_nothing_to_do_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with StudyProgress(runs=0, epochs=3):
        pass
    assert sys.stderr.getvalue() == ""


def test_long_times_are_in_minutes(monkeypatch, capsys):
    times = iter([0.0, 600.0])
    monkeypatch.setattr("lightning_tricks.study.runs.progress.time.perf_counter", lambda: next(times))
    with StudyProgress(runs=3, epochs=1) as progress:
        progress.run("mixup, seed 0")
    assert "about 20 min left" in capsys.readouterr().err
