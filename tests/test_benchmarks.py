import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import TABLES

FOLDER = Path(__file__).parents[1] / "benchmarks"


def test_one_command_runs_every_benchmark():
    programs = {path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text()}
    assert set(TABLES) == programs - {"__main__", "lr_overlay"}, "lr_overlay is drawn by pictures"


@pytest.mark.slow
def test_tables_are_printed_under_their_names():
    command = [sys.executable, "-m", "benchmarks", "growth", "kernel"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "there is no table kernel" in refused.stderr
    printed = subprocess.run(command[:-1], capture_output=True, text=True, check=True).stdout
    assert "## growth" in printed
    assert "With the resolution" in printed
