"""Checks of what both plots are given."""

from collections.abc import Sequence

from lightning.pytorch import Callback


def check_callbacks(owner: str, callbacks: object) -> None:
    """Makes sure that this is a list of callbacks.

    Args:
        owner: who asks, for the message.
        callbacks: of a run.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(callbacks, Sequence) or not all(isinstance(callback, Callback) for callback in callbacks):
        raise TypeError(f"{owner} needs a list of callbacks, but got {callbacks!r}")
