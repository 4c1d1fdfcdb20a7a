"""The base of every trick that changes the learning rate."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl

from lightning_tricks.engine.lr_run import LRRun
from lightning_tricks.engine.run_length import RunLength
from lightning_tricks.engine.shared_run import SharedRun
from lightning_tricks.functional.checks import named
from lightning_tricks.functional.lr import Schedule


class LRTrick(SharedRun, ABC):
    """A factor that multiplies the learning rate at each optimizer step.

    A subclass says what the factor is; all tricks in ``Trainer(callbacks=[...])`` together multiply the learning rate
    by the product of theirs, for exactly the arithmetic of ``optimizer.step()``. Everywhere else the optimizer shows
    the nominal learning rate, the user's own: schedulers, checkpoints, callbacks and the training step see no trick.
    Only a ``LearningRateMonitor`` is shown the learning rate in use.

    Steps are counted for each optimizer, from 0. One that a gradient scaler skips does not count; a fused optimizer
    skips on the device, unseen, and so counts it. The counts are in the checkpoint. A run that resumes from a
    checkpoint without them starts at its global step.

    Lengths in epochs, and the length of the run, are counted from the batches of an epoch. An optimizer that has made
    another number of steps in the first epoch, by more than a tenth, is an error that asks for lengths in steps. Steps
    that Lightning's gradient scaler skips are no such difference.

    A wrapper of another optimizer, such as Lookahead or SAM, is scaled as a whole; it must share the parameter groups
    of the optimizer inside.

    Example:
        >>> import lightning.pytorch as pl
        >>> class Halved(LRTrick):
        ...     def factor(self, step):
        ...         return 0.5
        >>> trainer = pl.Trainer(callbacks=[Halved()], logger=False)
    """

    section = "lr"
    total_steps: int | None = None
    """The optimizer steps of the whole run, where the trick has been told."""

    _made: tuple[dict[str, Any], Schedule] | None = None

    @property
    def warmup_steps(self) -> int:
        """The optimizer steps for which this trick holds the learning rate low; decays begin after the longest."""
        return 0

    @abstractmethod
    def factor(self, step: int) -> float:
        """Returns what the learning rate is multiplied by at an optimizer step.

        Args:
            step: optimizer step, from 0; also past the end of the run.

        Returns:
            The factor, at least 0.
        """

    def _schedule(self, make: Callable[..., Schedule], **arguments: Any) -> Schedule:
        """Returns the schedule of these arguments, which are checked when the first of them is made or one changes."""
        if self._made is None or self._made[0] != arguments:
            with named(self.name):
                self._made = arguments, make(**arguments)
        return self._made[1]

    def resolve(self, length: RunLength, tricks: Sequence["LRTrick"]) -> None:
        """Turns durations into steps, when the training starts.

        Args:
            length: how long the run is.
            tricks: all learning-rate tricks of the run, this one among them.

        Raises:
            MisconfigurationException: what this trick needs to know of the run's length cannot be known.
        """

    def check_beside(self, tricks: Sequence["LRTrick"]) -> None:
        """Refuses a list of tricks in which this one cannot work.

        Args:
            tricks: all learning-rate tricks of the run, this one among them.

        Raises:
            MisconfigurationException: this trick and another exclude each other.
        """

    def before_step(self, trainer: pl.Trainer, count: int) -> None:
        """Lets a trick look at the run before each optimizer step is prepared, on all ranks alike.

        Args:
            trainer: the run's trainer.
            count: the steps that the first optimizer has made.
        """

    def state(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Returns what a resumed run needs to know of this trick, in plain types; a checkpoint takes it along.

        Args:
            trainer: the run's trainer.
        """
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` gave.

        Args:
            state: that, or an empty mapping where there is none.
        """

    def make_run(self, trainer: pl.Trainer, pl_module: pl.LightningModule, family: Sequence["LRTrick"]) -> LRRun:
        """Returns the run of one fit."""
        return LRRun(trainer, family)
