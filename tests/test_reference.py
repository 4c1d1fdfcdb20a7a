"""The pages of docs/api have every public name once and nothing that does not exist, and every page is in the menu."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest

from lightning_tricks.cli.command import SUBCOMMANDS
from lightning_tricks.cli.trainer_command import STAGES
from tests.public_names import public_names

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "api").glob("*.md"))
_spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
hooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hooks)
TEXT = "\n".join(hooks.expand(page.read_text(), page.parent) for page in PAGES)
ENTRIES = re.findall(r"^::: (\S+)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry_exists_and_is_no_file(entry):
    # ``functional.mixup`` is the function to Python, but its file to whoever reads the sources.
    assert not inspect.ismodule(pkgutil.resolve_name(entry))
    parent, _, name = entry.rpartition(".")
    it = pkgutil.resolve_name(entry)
    assert it.__module__.rpartition(".")[2] != name or it.__module__ == parent
    assert getattr(importlib.import_module(parent), name) is it


def test_every_public_name_stands_once():
    found = Counter(f"{it.__module__}.{it.__qualname__}" for it in map(pkgutil.resolve_name, ENTRIES))
    assert {name: found[name] for name in public_names()} == dict.fromkeys(public_names(), 1)
    assert max(found.values()) == 1


def test_the_page_of_the_command_has_every_subcommand_and_its_options():
    text = (DOCS / "api" / "command.md").read_text()
    assert re.findall(r"^\| `lightning-tricks (\w+)`", text, re.MULTILINE) == [*SUBCOMMANDS, *STAGES]
    sentence = re.sub(r"\s+", " ", text.partition("## Options")[2]).partition(". On the command line")[0]
    for name, parts in zip(SUBCOMMANDS, sentence.split(";"), strict=True):
        options = [group.__name__ for group in SUBCOMMANDS[name].options]
        assert re.findall(r"`(\w+)`", parts) == [name, *options]
        assert {f"lightning_tricks.cli.options.{group}" for group in options} < set(ENTRIES)


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"(\S+\.md|\S+/)$", menu, re.MULTILINE)  # a folder stands for all its pages
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if not any(page == entry or page.startswith(entry) for entry in entries)] == []
    assert [entry for entry in entries if not (DOCS / entry).exists()] == []


def test_the_table_of_cards_has_every_card():
    table = hooks.expand((DOCS / "tricks" / "README.md").read_text(), DOCS / "tricks")
    rows = dict(re.findall(r"^\| \[\w+\]\((\w+\.md)\) \| (.+) \|$", table, re.MULTILINE))
    assert set(rows) == {page.name for page in (DOCS / "tricks").glob("*.md")} - {"README.md"}
    assert all(sentence.endswith(".") for sentence in rows.values())
