"""Fills the pages with what the package says of itself: the reference, and the table of cards.

A comment in a page is replaced when mkdocs builds it:

- ``<!-- reference: MODULE -->`` by an entry for each name in the module's ``__all__``;
- ``<!-- reference: MODULE BASE -->`` by an entry for each class there that derives from ``BASE``;
- ``<!-- cards -->`` by a table of the cards beside the page, each with its first sentence.
"""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"<!-- reference: ([\w.]+)(?: (\w+))? -->")


def on_page_markdown(markdown: str, *, page: Any, **kwargs: Any) -> str:
    """Replaces the comments of one page; mkdocs calls it."""
    return expand(markdown, Path(page.file.abs_src_path).parent)


def expand(markdown: str, folder: Path) -> str:
    """Returns the text of a page that lies in ``folder``, with its comments replaced."""
    markdown = _REFERENCE.sub(lambda found: _reference(found[1], found[2]), markdown)
    return markdown.replace("<!-- cards -->", _cards(folder)) if "<!-- cards -->" in markdown else markdown


def _reference(module_name: str, base_name: str | None) -> str:
    module = importlib.import_module(module_name)
    base = getattr(module, base_name) if base_name else object
    members = [getattr(module, name) for name in module.__all__]
    if base_name:
        members = [it for it in members if inspect.isclass(it) and issubclass(it, base) and it is not base]
    # A callback's methods are hooks that Lightning calls.
    options = "\n    options: {members: false}" if base_name else ""
    return "\n\n".join(f"::: {module_name}.{it.__name__}{options}" for it in members)


def _cards(folder: Path) -> str:
    rows = ["| card | what it does |", "|---|---|"]
    for card in sorted(folder.glob("*.md"), key=lambda path: path.stem.replace("_", "")):
        title, _, text = card.read_text(encoding="utf-8").partition("\n\n")
        if title.startswith("# ") and card.name not in ("README.md", "index.md"):
            sentence = re.split(r"(?<=\.)\s", text, maxsplit=1)[0].replace("\n", " ")
            rows.append(f"| [{title.removeprefix('# ')}]({card.name}) | {sentence} |")
    return "\n".join(rows)
