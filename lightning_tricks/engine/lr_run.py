"""What all learning-rate tricks of one fit share: the hooked optimizers, the count of their steps, the product."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_tricks.engine.lr_monitor import bare_monitors, surround_monitors
from lightning_tricks.engine.run_length import RunLength, run_length
from lightning_tricks.engine.scaled_step import ScaledStep

if TYPE_CHECKING:
    from lightning_tricks.callbacks.lr_trick import LRTrick


def prepare(tricks: Sequence[LRTrick], length: RunLength) -> None:
    """Checks that the tricks go together and tells each how long the run is."""
    for trick in tricks:
        trick.check_beside(tricks)
    for trick in tricks:
        trick.resolve(length, tricks)


def product(tricks: Sequence[LRTrick], step: int) -> float:
    """Returns what the learning rate is multiplied by at an optimizer step."""
    return math.prod(trick.factor(step) for trick in tricks)


class LRDriver:
    """Multiplies the learning rates of one run by the product of its tricks.

    Args:
        trainer: the run's trainer; it is forgotten when the run has stopped.
        tricks: the learning-rate tricks among its callbacks; the first one calls this driver.
    """

    def __init__(self, trainer: Any, tricks: Sequence[LRTrick]) -> None:
        for trick in tricks:
            trick.check_beside(tricks)
        self.tricks = tricks
        self.trainer = trainer
        self._owner = weakref.ref(trainer)
        self._counts: list[int] | None = None
        self._last_state: dict[str, Any] | None = None
        self._steps: list[ScaledStep] = []
        self._checks_batches = False
        self._checked_epoch = -1
        self._seen_counts: list[int] = []
        self._seen_global_step = 0
        self._seen_scales: list[float] = []

    @property
    def counts(self) -> list[int] | None:
        """The steps that each optimizer has made, or None before that is known."""
        return [step.count for step in self._steps] if self._steps else self._counts

    def state(self, trainer: pl.Trainer) -> dict[str, Any] | None:
        """What a resumed run needs to know, in plain types; None before training."""
        if self.trainer is None:  # the tricks may belong to the run of another Trainer by now
            return self._last_state
        if self.counts is None:
            return None
        return {
            "steps": self.counts,
            "early_ends": {key: trick.early_end for key, trick in self._keys()},
            "metrics": {key: trick.metric(trainer) for key, trick in self._keys()},
        }

    def load(self, state: dict[str, Any] | None) -> None:
        """Takes over what :meth:`state` gave; None is a start from nothing."""
        self._counts = None if state is None else list(state["steps"])
        for step, count in zip(self._steps, self._counts or (), strict=False):
            step.count = count
        for key, trick in self._keys():
            trick.early_end = None if state is None else state["early_ends"].get(key)
            trick.earlier_metric = None if state is None else state["metrics"].get(key)

    def is_of(self, trainer: pl.Trainer) -> bool:
        """Whether the run was this Trainer's, also after it has stopped."""
        return self._owner() is trainer

    def is_active(self) -> bool:
        """Whether the tricks are among the trainer's callbacks: the Tuner replaces those for its own runs."""
        return self.trainer is not None and any(callback is self.tricks[0] for callback in self.trainer.callbacks)

    def start(self, trainer: pl.Trainer) -> None:
        """Reads the run's length and hooks the optimizers."""
        if not trainer.optimizers:
            raise MisconfigurationException(
                "The learning-rate tricks need an optimizer, but configure_optimizers gave none"
            )
        length = run_length(trainer)
        prepare(self.tricks, length)
        self._warn_of_a_short_run(length)
        if self._counts is None:
            self._counts = self._counts_without_record(trainer)
        self._checked_epoch = trainer.current_epoch
        automatic = trainer.lightning_module.automatic_optimization
        self._checks_batches = not automatic and length.batches_were_counted
        self.trainer.callbacks = surround_monitors(self.trainer.callbacks, show=self._show, hide=self._hide)
        self.refresh(trainer)

    def refresh(self, trainer: pl.Trainer) -> None:
        """Hooks the optimizers where they have been made anew, and clears up after a step that raised."""
        if [step.optimizer for step in self._steps] == trainer.optimizers:
            for step in self._steps:
                step.abandon()
        else:
            counts = self.counts or []
            for step in self._steps:
                step.detach()
            self._steps = [
                ScaledStep(
                    optimizer,
                    count=counts[index] if index < len(counts) else 0,
                    factor=partial(product, self.tricks),
                    is_active=self.is_active,
                )
                for index, optimizer in enumerate(trainer.optimizers)
            ]
        if self._checks_batches:
            self._seen_counts = self.counts or []
            self._seen_global_step = trainer.global_step
            self._seen_scales = _scales(trainer.lightning_module)
        for trick in self.tricks:
            trick.before_step(trainer, self._steps[0].count)

    def check_batch(self, trainer: pl.Trainer) -> None:
        """Makes sure, during its first epoch, that a manual optimisation steps as often as the length supposes."""
        if not self._checks_batches or trainer.current_epoch != self._checked_epoch:
            return
        made = [step.count - seen for step, seen in zip(self._steps, self._seen_counts, strict=True)]
        # A step that Lightning's gradient scaler skips is called, and so in the global step, but not made; what one of
        # the module's own skips is not even called, but makes its scale smaller.
        called = trainer.global_step - self._seen_global_step == len(made)
        scales = zip(_scales(trainer.lightning_module), self._seen_scales, strict=False)
        only_skipped = max(made) <= 1 and (called or any(now < before for now, before in scales))
        if any(count != 1 for count in made) and not only_skipped:
            raise MisconfigurationException(
                f"The learning-rate tricks took each optimizer to make one step a batch, but under this manual "
                f"optimisation they made {made}; give steps= and total_steps= instead of epochs"
            )

    def stop(self) -> None:
        """Makes every learning rate nominal and leaves nothing behind."""
        self._counts = self.counts
        for step in self._steps:
            step.detach()
        self._steps = []
        if self.trainer is not None:
            self._last_state = self.state(self.trainer)
            self.trainer.callbacks = bare_monitors(self.trainer.callbacks)
            self.trainer = None

    def _show(self) -> None:
        if self.is_active():
            self.refresh(self.trainer)
            for step in self._steps:
                step.show()

    def _hide(self) -> None:
        for step in self._steps:
            step.hide()

    def _keys(self) -> list[tuple[str, LRTrick]]:
        names = [type(trick).__name__ for trick in self.tricks]
        return [(f"{name} {names[:index].count(name)}", self.tricks[index]) for index, name in enumerate(names)]

    def _warn_of_a_short_run(self, length: RunLength) -> None:
        longest = max(self.tricks, key=lambda trick: trick.warmup_steps)
        totals = (length.total_steps, *(trick.total_steps for trick in self.tricks))
        known = [total for total in totals if isinstance(total, int)]
        if known and (shortest := min(known)) < longest.warmup_steps:
            rank_zero_warn(
                f"{type(longest).__name__} lasts {longest.warmup_steps} optimizer steps, but the run only {shortest}: "
                "it ends before the warm-up does"
            )

    @staticmethod
    def _counts_without_record(trainer: pl.Trainer) -> list[int]:
        if len(trainer.optimizers) == 1:
            return [trainer.global_step]
        if trainer.global_step:
            rank_zero_warn(
                "The checkpoint holds no step counts of the learning-rate tricks, and the global step does not say "
                f"which of the {len(trainer.optimizers)} optimizers has made how many: they are counted from 0"
            )
        return [0] * len(trainer.optimizers)


def _scales(module: pl.LightningModule) -> list[float]:
    """The scales of the gradient scalers that are attributes of the module."""
    return [value.get_scale() for value in vars(module).values() if isinstance(value, torch.amp.GradScaler)]
