"""What is wrong with the configuration of ``fit``, ``validate`` or ``test``, in one plain line."""

import importlib
import inspect
import re
from collections.abc import Collection, Iterator

import lightning.pytorch as pl

import lightning_tricks
from lightning_tricks.functional.checks import unknown_name

MODULES = ("Classifier",)
DATA_MODULES = ("CIFAR100DataModule", "CIFAR10DataModule", "DigitsDataModule", "ImageFolderDataModule")
_NO_CHOICE = ("BatchTrick", "LRTrick", "Callback")


class ConfigError(Exception):
    """A configuration that makes no Trainer, module or data; the message says why."""


def parsing_error(error: Exception) -> ConfigError:
    """The plain form of what jsonargparse says of a configuration that it refuses.

    Args:
        error: of the parser; its causes are the errors behind it.

    Returns:
        An unknown name with the nearest, or what is wrong with the arguments of one class; the parser's own words where
        it is neither.
    """
    message = str(error)
    key = message.partition('Parser key "')[2].partition('"')[0]
    if (found := re.search(r"Expected a dot import path string: (\S+)", message)) and key in _KINDS:
        kind, known, more = _KINDS[key]
        return ConfigError(str(unknown_name(kind, found[1], known, more=more)))
    # Of classes inside each other the innermost has the mistake.
    for text in (*reversed([str(cause) for cause in _causes(error)]), message):
        if problem := re.search(r"Problem with given class_path '(\S+)':\n(.*?)(?=\n *- |$)", text, re.DOTALL):
            return ConfigError(_of_class(problem[1], " ".join(problem[2].split())))
    return ConfigError(message)


def instantiation_error(error: Exception) -> Exception:
    """The error that a class raised when it was made, out of jsonargparse's error around it.

    Args:
        error: of the parser; its causes are the errors behind it.

    Returns:
        A :class:`ConfigError` for a ``ValueError``, a ``TypeError`` or a file that cannot be read; any other error as
        it was raised.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.filename:
            return ConfigError(f"{cause.filename}: {cause.strerror}")
        if not str(cause).startswith("Does not validate against any of the Union"):
            return ConfigError(str(cause)) if isinstance(cause, ValueError | TypeError) else cause
    return ConfigError(str(error))


def _callbacks() -> list[str]:
    ours = (
        name for name, made in inspect.getmembers(lightning_tricks, inspect.isclass) if issubclass(made, pl.Callback)
    )
    return [name for name in (*ours, *pl.callbacks.__all__) if name not in _NO_CHOICE]


def _of_class(path: str, problem: str) -> str:
    module, _, name = path.rpartition(".")
    if problem == f"module {module!r} has no attribute {name!r}":
        classes = dict(inspect.getmembers(importlib.import_module(module), inspect.isclass))
        return str(unknown_name(f"{module} class", name, classes))
    if option := re.fullmatch(r"Option '(\w+)' is not accepted", problem):
        arguments = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        return str(unknown_name(f"{name} argument", option[1], arguments))
    return f"{name}: {problem}"


def _causes(error: BaseException | None) -> Iterator[Exception]:
    while isinstance(error, Exception):
        yield error
        error = error.__cause__


_KINDS: dict[str, tuple[str, Collection[str], str]] = {
    "trainer.callbacks": ("callback", _callbacks(), ", or one of your own by its full path"),
    "model": ("module", MODULES, ", or one of your own by its full path; for a net of torchvision: --model.model"),
    "data": ("data module", DATA_MODULES, ", or one of your own by its full path"),
}
