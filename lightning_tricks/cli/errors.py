"""Errors of the command, and the search for a misspelt class name in a configuration."""

import inspect
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml

from lightning_tricks import callbacks, data, plots
from lightning_tricks.functional.checks import unknown_name


class ConfigError(Exception):
    """A configuration that makes no Trainer, module or data; the message says why."""


class Interrupted(Exception):
    """Ctrl-C; the message says how to go on."""


def raised_in(package: str, error: BaseException) -> bool:
    """Whether the code that raised the error belongs to ``package``."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return f"{frame.f_globals.get('__name__')}.".startswith(f"{package}.")


def unknown_class(words: Sequence[str]) -> ValueError | None:
    """The error for the first class name among the options, or in their files, that no class has."""
    for option, following in zip(words, [*words[1:], ""], strict=True):
        key, equals, value = option.partition("=")
        value = value if equals else following
        key = key.removeprefix("--").removesuffix("+")
        if key == "config":
            key, value = "", Path(value).read_text(encoding="utf-8") if Path(value).is_file() else ""
        try:
            strings = list(_strings(key, yaml.safe_load(value)))
        except yaml.YAMLError:  # the parser says so
            continue
        for place, name in strings:
            place = place.replace(".init_args", "").removesuffix(".class_path")
            if place in _KINDS and (error := _check_class(name, *_KINDS[place])):
                return error
    return None


def _strings(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each string of a configuration with its place, such as ``trainer.callbacks.class_path``."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for entry in value:
            yield from _strings(place, entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _strings(f"{place}.{key}".lstrip("."), entry)


def _check_class(name: str, kind: str, base: type, known: Collection[str], more: str) -> ValueError | None:
    module, _, short = name.rpartition(".")
    if not module and name not in {*known, *_subclasses(base)}:
        return unknown_name(kind, name, known, more=f", or one of your own by its full path{more}")
    if module in sys.modules and not hasattr(sys.modules[module], short):
        return unknown_name(f"{module} class", short, dict(inspect.getmembers(sys.modules[module], inspect.isclass)))
    return None


def _subclasses(base: type) -> Iterator[str]:
    subclasses: list[type] = base.__subclasses__()
    for subclass in subclasses:
        yield subclass.__name__
        yield from _subclasses(subclass)


def _public(package: Any, base: type) -> list[str]:
    return [name for name in package.__all__ if isinstance(it := getattr(package, name), type) and issubclass(it, base)]


_CALLBACKS = {
    *_public(callbacks, pl.Callback),
    *_public(plots, pl.Callback),
    *pl.callbacks.__all__,
} - {"BatchTrick", "LRTrick", "Callback"}
_CALLBACK = "callback", pl.Callback, _CALLBACKS, ""
_KINDS: dict[str, tuple[str, type, Collection[str], str]] = {
    "trainer.callbacks": _CALLBACK,
    "trainer.callbacks.tricks": _CALLBACK,
    "model": ("module", pl.LightningModule, ["Classifier"], "; for a net of torchvision: --model.model"),
    "data": ("data module", pl.LightningDataModule, _public(data, pl.LightningDataModule), ""),
}
