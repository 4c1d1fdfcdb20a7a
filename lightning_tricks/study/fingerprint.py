"""What makes two studies the same study, in plain values."""

import functools
import json
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import nn

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_EMPTY = types.CellType()  # of a variable that has no value yet
_NONE = object()  # what is not in a description
_LONG = 60  # letters


def describe(value: object, *, inside: tuple[object, ...] = ()) -> Any:
    """Plain values that are equal for equal settings, in every process.

    Numbers, strings and containers of them stay; a function is its name with the numbers, strings and names in its
    code, its defaults and what it closes over; a callback is its class and public attributes; any other object is its
    class. A setting that only shows in another object's inside is not seen.

    Args:
        value: anything.
        inside: what is being described already; one of them is named and not entered again.

    Returns:
        What ``json`` can write.

    Example:
        >>> describe({"devices": 1, "path": print})
        {'devices': 1, 'path': 'builtins.print'}
    """

    def within(item: object) -> Any:
        return describe(item, inside=(*inside, value))

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if any(value is outer for outer in inside):
        return f"the same {type(value).__name__}"
    if isinstance(value, Mapping):
        return {str(key): within(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [within(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    if isinstance(value, functools.partial):
        return {"function": within(value.func), "args": within(value.args), "keywords": within(value.keywords)}
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != _EMPTY]
        details = {
            "defaults": within(value.__defaults__ or ()),
            "closure": within(cells),
            "code": _words(value.__code__),
        }
        return {"function": _name(value), **{name: item for name, item in details.items() if item}}
    if isinstance(value, types.MethodType):
        return {"function": within(value.__func__), "of": within(value.__self__)}
    if isinstance(value, pl.Callback):
        public = {name: within(item) for name, item in vars(value).items() if not name.startswith("_")}
        return {"class": _name(type(value)), **public}
    if isinstance(value, nn.Module):
        return {"class": _name(type(value)), "structure": _ADDRESS.sub("", str(value))}
    return _name(value) if hasattr(value, "__qualname__") else _name(type(value))


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Which settings of two descriptions differ, in words.

    Args:
        there: the one on disk.
        here: the one at hand.

    Returns:
        ``"name: … there, … here"`` for each, joined by semicolons; empty if they are equal.
    """
    shown = list(_differences(there, here, ""))
    return "; ".join(shown[:5]) + (f"; and {len(shown) - 5} more" if len(shown) > 5 else "")


def _differences(there: Any, here: Any, path: str) -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in {**there, **here}:
            inner = f"{path}.{name}" if path else name
            yield from _differences(there.get(name, _NONE), here.get(name, _NONE), inner)
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for place, (item, other) in enumerate(zip(there, here, strict=True)):
            yield from _differences(item, other, f"{path}[{place}]")
    elif there != here:
        yield f"{path}: {_short(there)} there, {_short(here)} here"


def _short(value: Any) -> str:
    """A value in words, of which the first will do."""
    text = "none" if value is _NONE else json.dumps(value)
    return text if len(text) <= _LONG else text[:_LONG] + "…"


def _words(code: types.CodeType) -> list[Any]:
    """The names, numbers and strings of a function's code, those of functions inside it too."""
    words: list[Any] = list(code.co_names)
    for constant in code.co_consts:
        words += _words(constant) if isinstance(constant, types.CodeType) else [describe(constant)]
    return words


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
