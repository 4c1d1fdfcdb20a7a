"""The base of every trick that changes the learning rate."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import lightning.pytorch as pl
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer

from lightning_tricks.engine.checkpoint_entry import read_entry, write_entry
from lightning_tricks.engine.lr_run import LRDriver
from lightning_tricks.engine.run_length import RunLength
from lightning_tricks.engine.shared_run import check_free
from lightning_tricks.functional.checks import named
from lightning_tricks.functional.lr import Schedule

# The last driver of each Trainer. A trick may serve another Trainer next, and checkpoints are also saved after fit.
_DRIVERS: WeakKeyDictionary[pl.Trainer, LRDriver] = WeakKeyDictionary()


class LRTrick(Callback, ABC):
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

    total_steps: int | None = None
    """The optimizer steps of the whole run, where the trick has been told."""

    _driver: LRDriver | None = None
    _made: tuple[dict[str, Any], Schedule] | None = None

    @property
    def _led(self) -> LRDriver | None:
        """The run's driver, if this is the trick that drives it: the first of them."""
        return self._driver if self._driver is not None and self._driver.tricks[0] is self else None

    def _is_run_of(self, trainer: pl.Trainer) -> bool:
        """Whether the run belongs to this Trainer: another one may validate in the middle of it."""
        return self._driver is not None and self._driver.is_of(trainer)

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
            with named(type(self).__name__):
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

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives all learning-rate tricks of the fit a common driver."""
        tricks = [callback for callback in trainer.callbacks if isinstance(callback, LRTrick)]  # type: ignore[attr-defined]
        if stage != "fit" or not tricks or tricks[0] is not self:
            return
        drivers = [trick._driver for trick in tricks if trick._driver is not None]
        for trick in tricks:
            if trick._driver is not None:
                check_free(type(trick).__name__, trick._driver.trainer, trainer)
        for driver in drivers:
            driver.stop()
        previous = _DRIVERS.get(trainer)
        driver = _DRIVERS[trainer] = LRDriver(trainer, tricks)
        # A second fit with the same Trainer goes on; a new Trainer starts from nothing.
        driver.load(previous.state(trainer) if previous is not None and trainer.global_step else None)
        for trick in tricks:
            trick._driver = driver

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads the run's length."""
        if self._led is not None:
            self._led.start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hooks the optimizers where they are new."""
        if self._led is not None:
            self._led.refresh(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hooks the optimizers where they are new."""
        if self._led is not None:
            self._led.refresh(trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Counts the steps that Lightning asks for in the first epoch."""
        if self._led is not None:
            self._led.step_asked(trainer, optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batches of the first epoch."""
        if self._led is not None:
            self._led.batch_ended(trainer, batch_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Makes sure, after the first epoch, that the optimizers step as often as supposed."""
        if self._led is not None:
            self._led.epoch_ended()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Makes every learning rate nominal and removes the hooks."""
        if self._driver is not None and self._driver.is_of(trainer):
            self._driver.stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Removes the hooks."""
        if self._driver is not None and self._driver.is_of(trainer):
            self._driver.stop()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Writes the step counts."""
        driver = _DRIVERS.get(trainer)
        if driver is not None and (state := driver.state(trainer)) is not None:
            write_entry(checkpoint, "lr", state)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Reads the step counts of the run that is resumed; a validation restores nothing of a run."""
        if self._driver is not None and self._is_run_of(trainer) and trainer.state.fn == TrainerFn.FITTING:
            self._driver.load(read_entry(checkpoint, "lr"))

    def __getstate__(self) -> dict[str, Any]:
        # A copy belongs to no run; Lightning's two would bring the module along.
        return {name: value for name, value in vars(self).items() if name not in ("_driver", "log", "log_dict")}
