"""Lets a LearningRateMonitor see the learning rate in use, and nobody else."""

from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import Callback

from lightning_tricks.engine.lightnings_own import is_kind


class _Curtain(Callback):
    """Does one thing at the two hooks at which a LearningRateMonitor looks."""

    def __init__(self, move: Callable[[], None]) -> None:
        self.move = move

    def on_train_epoch_start(self, *_: Any) -> None:
        self.move()

    def on_train_batch_start(self, *_: Any) -> None:
        self.move()


def surround_monitors(
    callbacks: Iterable[Callback], *, show: Callable[[], None], hide: Callable[[], None]
) -> list[Callback]:
    """Returns the callbacks with every LearningRateMonitor between a ``show`` and a ``hide``."""
    surrounded: list[Callback] = []
    for callback in callbacks:
        if is_kind(callback, "LearningRateMonitor"):
            surrounded += [_Curtain(show), callback, _Curtain(hide)]
        else:
            surrounded.append(callback)
    return surrounded


def bare_monitors(callbacks: Iterable[Callback]) -> list[Callback]:
    """Returns the callbacks without what :func:`surround_monitors` has added."""
    return [callback for callback in callbacks if not isinstance(callback, _Curtain)]
