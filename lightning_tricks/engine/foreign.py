"""What stands beside the tricks in a run: Lightning's own callbacks and the module's schedulers."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch import Callback

_PACKAGES = ("lightning.pytorch.callbacks.", "pytorch_lightning.callbacks.")


def is_kind(callback: object, name: str) -> bool:
    """Whether a callback is of Lightning's class of that name, or a subclass of it.

    By name, for `lightning` and `pytorch_lightning` each define their own, and importing the other one is slow.
    """
    return any(base.__name__ == name and base.__module__.startswith(_PACKAGES) for base in type(callback).__mro__)


def callbacks_of_kind(trainer: pl.Trainer, name: str) -> list[Any]:
    """Returns the Trainer's callbacks that are of Lightning's class of that name."""
    return [callback for callback in trainer.callbacks if is_kind(callback, name)]  # type: ignore[attr-defined]


class _MonitorBracket(Callback):
    """Calls ``move`` at the two hooks where a LearningRateMonitor logs."""

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
            surrounded += [_MonitorBracket(show), callback, _MonitorBracket(hide)]
        else:
            surrounded.append(callback)
    return surrounded


def bare_monitors(callbacks: Iterable[Callback]) -> list[Callback]:
    """Returns the callbacks without what :func:`surround_monitors` has added."""
    return [callback for callback in callbacks if not isinstance(callback, _MonitorBracket)]


def warming_schedulers(trainer: pl.Trainer) -> list[str]:
    """Names the optimizers' schedulers that begin below the learning rate that they rise to."""
    return [
        type(scheduler).__name__
        for scheduler in _schedulers(trainer)
        if getattr(scheduler, "last_epoch", 0) <= 0
        and any(float(group["lr"]) < _top(scheduler, group) for group in scheduler.optimizer.param_groups)
    ]


def decaying_schedulers(trainer: pl.Trainer) -> list[str]:
    """Names the schedulers that are more than a warm-up."""
    return [type(scheduler).__name__ for scheduler in _schedulers(trainer) if any(map(_decays, _parts(scheduler)))]


def _schedulers(trainer: pl.Trainer) -> list[Any]:
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [scheduler for scheduler in schedulers if hasattr(scheduler, "optimizer")]


def _top(scheduler: Any, group: dict[str, Any]) -> float:
    # OneCycleLR and CyclicLR call their lowest rate the initial one.
    tops = (group.get("max_lr", group.get("initial_lr", group["lr"])), *getattr(scheduler, "max_lrs", ()))
    return max(map(float, tops))


def _parts(scheduler: Any) -> list[Any]:
    parts = getattr(scheduler, "_schedulers", None)  # of SequentialLR and ChainedScheduler
    return [scheduler] if parts is None else [leaf for part in parts for leaf in _parts(part)]


def _decays(scheduler: Any) -> bool:
    if type(scheduler).__name__ == "LinearLR":
        return bool(scheduler.end_factor < scheduler.start_factor)
    return type(scheduler).__name__ != "ConstantLR"
