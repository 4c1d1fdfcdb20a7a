import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import kernels
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


PEERS = {
    "mixup": {"torchvision", "timm on a clone", "kornia"},
    "mixup per sample": {"timm on a clone", "kornia"},
    "cutmix": {"torchvision", "timm on a clone", "kornia"},
    "cutmix per sample": {"timm on a clone", "kornia"},
    "ricap": {"published loop"},
    "mosaic": {"plain interpolate and cat", "kornia (crops)"},
    "cutout": {"published loop"},
    "random_erasing": {"torchvision", "timm on a clone", "kornia"},
}


@pytest.mark.slow
def test_the_kernels_stand_beside_their_peers_in_a_table_and_a_csv(monkeypatch, tmp_path, capsys):
    path = tmp_path / "kernels.csv"
    monkeypatch.setattr(kernels, "SHAPES", [(4, 3, 32, 24)])
    monkeypatch.setattr(sys, "argv", ["kernels", "--rounds", "1", "--device", "cpu", "--csv", str(path)])
    kernels.main()
    printed = capsys.readouterr().out
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*kernels.COLUMNS, "machine"]
    for name, peers in PEERS.items():
        assert {row["by"] for row in rows if row["kernel"] == name} == {kernels.OURS, kernels.COPY} | peers
    lines = printed.splitlines()
    assert lines[0] == rows[0]["machine"]
    assert len(lines) == len(rows) + 2
    for line, row in zip(lines[2:], rows, strict=True):
        assert line == kernels.ROW.format(*(row[column] for column in kernels.COLUMNS))


def test_the_readme_shows_the_kernels_as_they_were_measured():
    with (FOLDER / "kernels.csv").open() as file:
        rows = {(row["shape"], row["kernel"]): row for row in csv.DictReader(file) if row["by"] == kernels.OURS}
    readme = (FOLDER.parent / "README.md").read_text()
    for name in kernels.KERNELS:
        (line,) = [line for line in readme.splitlines() if line.startswith(f"| {name.replace('_', ' ')} | ")]
        cells = [cell.strip().split(" (")[0] for cell in line.strip("|").split("|")]
        measured = [rows["×".join(map(str, shape)), name] for shape in kernels.SHAPES]
        assert cells[3:] == [row[column] for row in measured for column in ("over_fastest_peer", "over_copy")]
    assert all(part in readme.replace("\n", " ") for part in measured[0]["machine"].split("; ")[1].split(", "))
