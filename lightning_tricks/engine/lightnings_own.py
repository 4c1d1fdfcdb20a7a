"""Lightning's own callbacks, from either of its packages."""

from typing import Any

import lightning.pytorch as pl

_PACKAGES = ("lightning.pytorch.callbacks.", "pytorch_lightning.callbacks.")


def is_kind(callback: object, name: str) -> bool:
    """Whether a callback is of Lightning's class of that name, or a subclass of it.

    By name, for `lightning` and `pytorch_lightning` each define their own, and importing the other one is slow.
    """
    return any(base.__name__ == name and base.__module__.startswith(_PACKAGES) for base in type(callback).__mro__)


def callbacks_of_kind(trainer: pl.Trainer, name: str) -> list[Any]:
    """Returns the Trainer's callbacks that are of Lightning's class of that name."""
    return [callback for callback in trainer.callbacks if is_kind(callback, name)]  # type: ignore[attr-defined]
