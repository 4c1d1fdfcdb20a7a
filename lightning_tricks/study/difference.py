"""Compares two descriptions of studies."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_NONE = object()  # what is not in a description
_LONG = 60  # letters


def without_source(description: Any) -> list[str]:
    """The names of the functions in a description that have no source text."""
    if isinstance(description, Mapping):
        own = [description["function"]] if description.get("source", _NONE) is None else []
        return own + [name for item in description.values() for name in without_source(item)]
    return [name for item in description for name in without_source(item)] if isinstance(description, list) else []


def settled(first: Any, second: Any) -> Any:
    """A description of something that was made twice, without what differs between the two: chance, not a setting."""
    if isinstance(first, Mapping) and isinstance(second, Mapping) and first.keys() == second.keys():
        return {name: settled(item, second[name]) for name, item in first.items()}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [settled(*pair) for pair in zip(first, second, strict=True)]
    return first if _same(first, second) else "differs each time"


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
    elif not _same(there, here):
        yield f"{path}: {_short(there)} there, {_short(here)} here"


def _same(there: Any, here: Any) -> bool:
    """Whether two plain values are equal with their types: 1 is neither 1.0 nor ``True``, and NaN is NaN."""
    if there is _NONE or here is _NONE:
        return there is here
    return json.dumps(there, sort_keys=True) == json.dumps(here, sort_keys=True)


def _short(value: Any) -> str:
    """A value in words, of which the first will do."""
    text = "none" if value is _NONE else json.dumps(value)
    return text if len(text) <= _LONG else text[:_LONG] + "…"
