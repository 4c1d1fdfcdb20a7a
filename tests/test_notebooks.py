"""Each notebook is run from top to bottom, and what is kept in the repository is what its source says."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
_spec = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def has_picture(notebook):
    return any("image/png" in output.get("data", {}) for output in outputs(notebook))


def test_there_are_five():
    assert [path.name[0] for path in build.SOURCES] == list("12345")
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == [path.stem for path in build.SOURCES]


@pytest.mark.parametrize("source", build.SOURCES, ids=lambda path: path.stem)
def test_kept(source):
    kept = source.with_suffix(".ipynb")
    assert kept.stat().st_size < 1_000_000
    notebook = nbformat.read(kept, as_version=4)
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in build.read_source(source).cells]
    assert has_picture(notebook)
    assert not [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.parametrize("source", build.SOURCES, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(source, tmp_path):
    assert has_picture(build.run(build.read_source(source), folder=tmp_path))
