"""Checks of arguments; each error names the owner, what it needs and what it got."""

import difflib
import math
import numbers
import re
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

Mode: TypeAlias = Literal["max", "min"]
"""Whether more or less of a metric is better."""
Labels: TypeAlias = Literal["soft", "sample", "dense"]
"""What the class indices of a mixed batch become."""


class named:
    """Lets the errors of a function called inside name ``owner`` instead: "cutout needs …" is "Cutout needs …".

    A class, for it is entered several times per batch, and a generator takes twice as long.
    """

    __slots__ = ("owner",)

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, (TypeError, ValueError)):
            return
        text = re.sub(r"^(?:[a-z_]+|SoftTarget(?:\.\w+)?) needs ", f"{self.owner} needs ", str(error))
        if text == str(error) and text.startswith(self.owner):
            return
        plain = TypeError if isinstance(error, TypeError) else ValueError
        raise plain(text if text.startswith(self.owner) else f"{self.owner}: {text}") from error


def check_number(
    owner: str,
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """Returns ``value`` as a float if it is a finite real number in [low, high] and in (above, below)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner} needs {name} to be a number, but got {value!r} of type {type(value).__name__}.")
    try:
        number = float(value)
    except OverflowError:  # an integer larger than every float
        number = math.inf
    if not (math.isfinite(number) and low <= number <= high and above < number < below):
        limits = [
            f"{sign} {limit:g}"
            for sign, limit in (("at least", low), ("above", above), ("at most", high), ("below", below))
            if math.isfinite(limit)
        ]
        raise ValueError(f"{owner} needs {name} to be {' and '.join(limits) or 'finite'}, but got {value!r}.")
    return number


def check_integer(owner: str, name: str, value: object, *, low: int) -> int:
    """Returns ``value`` as an int if it is an integer of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{owner} needs {name} to be an integer, but got {value!r} of type {type(value).__name__}.")
    if value < low:
        raise ValueError(f"{owner} needs {name} to be at least {low}, but got {value!r}.")
    return int(value)


def check_choice(owner: str, name: str, value: object, choices: Collection[str]) -> Any:
    """Returns ``value`` if it is one of ``choices``, such as ``get_args`` of a ``Literal``."""
    if isinstance(value, str) and value in choices:
        return value
    text = f"{owner} needs {name} to be one of {', '.join(map(repr, choices))}, but got {value!r}."
    if not isinstance(value, str):
        raise TypeError(text)
    near = _nearest(value, choices)
    raise ValueError(f"{text} Did you mean {near!r}?" if near else text)


def unknown_name(kind: str, name: str, known: Collection[str], *, more: str = "") -> ValueError:
    """Returns the error for an unknown name; suggests the closest known one, or lists all and ``more``."""
    near = _nearest(name, known)
    hint = f"Did you mean {near!r}?" if near else f"There are: {', '.join(sorted(known))}{more}."
    return ValueError(f"there is no {kind} {name!r}. {hint}")


def _nearest(name: str, known: Collection[str]) -> str | None:
    """Returns the known name that looks most like this one, or ``None``."""
    spelt = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), spelt, n=1)
    return spelt[near[0]] if near else None


def check_flag(owner: str, name: str, value: object) -> bool:
    """Returns ``value`` if it is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{owner} needs {name} to be True or False, but got {value!r} of type {type(value).__name__}.")
    return value


def check_fill(owner: str, value: object) -> float | tuple[float, ...]:
    """Returns a fill value: a number, or one number per channel."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return check_number(owner, "value", value)
    if len(value) == 0:
        raise ValueError(f"{owner} needs value to be a number or one number per channel, but got {value!r}.")
    return tuple(check_number(owner, "value", number) for number in value)
