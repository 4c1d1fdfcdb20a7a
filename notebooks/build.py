"""Makes the notebooks from their sources and runs them: ``python notebooks/build.py``, or with names of sources.

A source is a Python file whose cells begin with ``# %%``, or with ``# %% [markdown]`` and then hold comments. A line
``# %matplotlib inline`` stands for that command.
"""

import argparse
import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FOLDER = Path(__file__).parent
SOURCES = sorted(path for path in FOLDER.glob("[0-9]_*.py"))
_TIMEOUT = 600  # seconds a cell


def read_source(path: Path) -> nbformat.NotebookNode:
    """The notebook of a source, not run."""
    cells = []
    for part in re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if head.strip() == "[markdown]":
            cell = new_markdown_cell(re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE))
        else:
            cell = new_code_cell(re.sub(r"^# (?=%)", "", body.strip(), flags=re.MULTILINE))
        cell["id"] = f"cell-{len(cells)}"
        cells.append(cell)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return new_notebook(cells=cells, metadata=metadata)


def run(notebook: nbformat.NotebookNode, *, folder: Path) -> nbformat.NotebookNode:
    """Runs a notebook from top to bottom in a folder; a cell that fails is an error."""
    resources = {"metadata": {"path": str(folder)}}
    # The advice to install a progress bar has no place in a kept output; the nets are too small for a second thread.
    environment = os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found", "OMP_NUM_THREADS": "1"}
    NotebookClient(notebook, timeout=_TIMEOUT, record_timing=False, resources=resources).execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.clear()
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def main() -> None:
    """Builds the notebooks that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", type=Path, default=SOURCES)
    for path in parser.parse_args().sources:
        target = path.with_suffix(".ipynb")
        nbformat.write(run(read_source(path), folder=FOLDER), target)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
