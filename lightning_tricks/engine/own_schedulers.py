"""Says where a scheduler of the module's own does what a trick does too, so that both multiply."""

from typing import Any

import lightning.pytorch as pl


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
