"""The source text of functions, and what of the global names it uses."""

import ast
import functools
import linecache
import sys
import sysconfig
import textwrap
import tokenize
import types
from pathlib import Path
from typing import Any

_INSTALLED = (Path(sysconfig.get_paths()["stdlib"]), Path(__file__).parents[1])


def is_installed(file: str | None) -> bool:
    """Whether code is a part of Python, of this package or of an installed one, and not the user's own."""
    path = Path(file or "")
    if {"site-packages", "dist-packages"} & set(path.parts) or (file or "").startswith("<frozen"):
        return True
    return any(path.is_relative_to(folder) for folder in _INSTALLED)


def is_module_installed(name: str | None) -> bool:
    """As :func:`is_installed`, for what a module defines."""
    root = (name or "builtins").partition(".")[0]
    return root in sys.stdlib_module_names or is_installed(getattr(sys.modules.get(name or ""), "__file__", None))


def source_lines(function: types.FunctionType) -> list[str] | None:
    """The lines of a function without comments and blank lines; ``None`` if there is no source."""
    lines, nodes = _find(function.__code__)
    found = []
    for node in nodes:
        found += [f"@{_text(lines, each)}" for each in getattr(node, "decorator_list", ())]
        text = _text(lines, node)
        if isinstance(node, ast.Lambda):  # its indentation says nothing
            found += [line.strip() for line in text.splitlines()]
        else:
            found += textwrap.dedent(" " * node.col_offset + text).splitlines()
    return [line.rstrip() for line in found if line.strip()] or None


def used_globals(function: types.FunctionType) -> dict[str, Any]:
    """The values of the global names in a function's source, as deep as a dotted name leads into modules."""
    used = {}
    for item in (each for node in _find(function.__code__)[1] for each in ast.walk(node)):
        parts: list[str] = []
        while isinstance(item, ast.Attribute):
            parts, item = [item.attr, *parts], item.value
        if not isinstance(item, ast.Name) or item.id not in function.__globals__:
            continue
        name, value = item.id, function.__globals__[item.id]
        for part in parts:
            if not isinstance(value, types.ModuleType) or not hasattr(value, part):
                break
            name, value = f"{name}.{part}", getattr(value, part)
        if not isinstance(value, types.ModuleType):
            used[name] = value
    return used


def _find(code: types.CodeType) -> tuple[tuple[str, ...], list[Any]]:
    """The lines of a code's file, and its nodes in there: several if lambdas of one line cannot be told apart."""
    linecache.checkcache(code.co_filename)
    lines, places = _parse(tuple(linecache.getlines(code.co_filename)))
    nodes = places.get((code.co_name, code.co_firstlineno), [])
    return lines, [_around(nodes, code)] if len(nodes) > 1 and _around(nodes, code) else nodes


def _around(nodes: list[Any], code: types.CodeType) -> Any:
    """The innermost of some lambdas whose body holds all of the code's positions, if Python knows them."""
    spans = list(getattr(code, "co_positions", tuple)())
    # Python 3.10 has none, and 3.12 none for a body that is a constant. Instructions without
    # a text of their own have no columns, or an empty span.
    known = [span for span in spans if None not in span and (span[0], span[2]) != (span[1], span[3])]
    for node in sorted(nodes, key=lambda node: -node.col_offset):
        start, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
        if known and all(start <= (span[0], span[2]) and (span[1], span[3]) <= end for span in known):
            return node
    return None


@functools.lru_cache(maxsize=64)
def _parse(lines: tuple[str, ...]) -> tuple[tuple[str, ...], dict[tuple[str, int], list[Any]]]:
    """The lines of a file without comments, and the functions in them by name and first line."""
    places: dict[tuple[str, int], list[Any]] = {}
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:  # it is no Python, but a template of it
        return lines, places
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            places.setdefault((getattr(node, "name", "<lambda>"), first), []).append(node)
    cleaned = list(lines)
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            cleaned[row - 1] = cleaned[row - 1][:column].rstrip() + "\n"
    return tuple(cleaned), places


def _text(lines: tuple[str, ...], node: Any) -> str:
    """The text of a node, whose columns count bytes."""
    rows = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]
    rows[-1] = rows[-1][: node.end_col_offset]
    rows[0] = rows[0][node.col_offset :]
    return b"".join(rows).decode()
