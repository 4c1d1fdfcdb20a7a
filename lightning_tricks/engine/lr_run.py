"""What all learning-rate tricks of one fit share: the hooked optimizers, the count of their steps, the product."""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch.optim import Optimizer

from lightning_tricks.engine.foreign import bare_monitors, surround_monitors
from lightning_tricks.engine.run_length import FirstEpoch, RunLength, read_run_length
from lightning_tricks.engine.scaled_step import ScaledStep
from lightning_tricks.engine.shared_run import Run


class Factor(Protocol):
    """What the driver needs of a trick."""

    total_steps: int | None

    @property
    def warmup_steps(self) -> int: ...  # noqa: D102

    def factor(self, step: int) -> float: ...  # noqa: D102
    def resolve(self, length: RunLength, tricks: Sequence[Any]) -> None: ...  # noqa: D102
    def check_beside(self, tricks: Sequence[Any]) -> None: ...  # noqa: D102
    def before_step(self, trainer: pl.Trainer, count: int) -> None: ...  # noqa: D102
    def state(self, trainer: pl.Trainer) -> dict[str, Any]: ...  # noqa: D102
    def load_state(self, state: dict[str, Any]) -> None: ...  # noqa: D102


def prepare(tricks: Sequence[Factor], length: RunLength) -> None:
    """Checks that the tricks go together and tells each how long the run is."""
    for trick in tricks:
        trick.check_beside(tricks)
    for trick in tricks:
        trick.resolve(length, tricks)


def product(tricks: Sequence[Factor], step: int) -> float:
    """Returns what the learning rate is multiplied by at an optimizer step."""
    return math.prod(trick.factor(step) for trick in tricks)


class LRRun(Run):
    """Multiplies the learning rates of one run by the product of its tricks."""

    family: Sequence[Factor]

    def __init__(self, trainer: pl.Trainer, family: Sequence[Factor]) -> None:
        super().__init__(trainer, family)
        for trick in family:
            trick.check_beside(family)
        self._counts: list[int] | None = None
        self._steps: list[ScaledStep] = []
        self._planned: list[float] = []
        self._was_hooked = False
        self._first_epoch: FirstEpoch | None = None
        self._counting_batches: list[str] = []

    @property
    def counts(self) -> list[int] | None:
        """The steps that each optimizer has made, or None before that is known."""
        return [step.count for step in self._steps] if self._steps else self._counts

    def state(self) -> dict[str, Any] | None:
        """The steps, the factors and what the tricks add; None before training."""
        if self.counts is None:
            return None
        factors = [product(self.family, count) for count in self.counts] if self._was_hooked else self._planned
        state: dict[str, Any] = {"steps": self.counts, "factors": factors}
        for key, trick in self._keys():
            for name, value in trick.state(self.trainer).items():
                state.setdefault(name, {})[key] = value
        return state

    def load(self, state: dict[str, Any] | None) -> None:
        """Takes over what :meth:`state` gave; None is a start from nothing."""
        self._counts = None if state is None else list(state["steps"])
        self._planned = [] if state is None else state.get("factors", [])
        self._first_epoch = None
        for step, count in zip(self._steps, self._counts or (), strict=False):
            step.count = count
        for key, trick in self._keys():
            kept = {name: values for name, values in (state or {}).items() if isinstance(values, dict)}
            trick.load_state({name: values[key] for name, values in kept.items() if key in values})

    def is_active(self) -> bool:
        """Whether the tricks are among the trainer's callbacks: the Tuner replaces those for its own runs."""
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        return any(callback is self.family[0] for callback in callbacks)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads the run's length and hooks the optimizers."""
        if not trainer.optimizers:
            raise MisconfigurationException(
                "The learning-rate tricks need an optimizer, but configure_optimizers gave none"
            )
        length = read_run_length(trainer, trainer.num_training_batches)
        prepare(self.family, length)
        self._warn_of_a_short_run(length)
        if self._counts is None:
            self._counts = self._counts_without_record(trainer)
        self._counting_batches = self._names_of_those_counting_batches(trainer)
        self._first_epoch = FirstEpoch(self._counts)
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        trainer.callbacks = surround_monitors(callbacks, show=self._show, hide=self._hide)  # type: ignore[attr-defined]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hooks the optimizers where they are new."""
        self._refresh(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hooks the optimizers where they are new."""
        self._refresh(trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Notes that Lightning is about to step an optimizer, which a gradient scaler may still prevent."""
        if self._first_epoch is not None:
            self._first_epoch.before_step(trainer, optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes a batch of the first epoch."""
        if self._first_epoch is not None:
            self._first_epoch.batch_ended(trainer, batch_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks, after the first epoch, that the optimizers step as often as the length supposes."""
        if self._first_epoch is not None and self._first_epoch.suggested:
            names = [type(trick).__name__ for trick in self.family]
            self._first_epoch.check(self.counts or [], names, self._counting_batches)
            self._first_epoch = None

    def _refresh(self, trainer: pl.Trainer) -> None:
        """Hooks the optimizers where they are new, and clears up after a step that raised."""
        if [step.optimizer for step in self._steps] == trainer.optimizers:
            for step in self._steps:
                step.abandon()
        else:
            self._hook(trainer)
        for trick in self.family:
            trick.before_step(trainer, self._steps[0].count)

    def close(self) -> None:
        """Makes every learning rate nominal and leaves nothing behind."""
        self._counts = self.counts
        self._first_epoch = None
        for step in self._steps:
            step.detach()
        self._steps = []
        self.trainer.callbacks = bare_monitors(self.trainer.callbacks)  # type: ignore[attr-defined]

    def _show(self) -> None:
        if self.is_active():
            self._refresh(self.trainer)
            for step in self._steps:
                step.show()

    def _hide(self) -> None:
        for step in self._steps:
            step.hide()

    def _hook(self, trainer: pl.Trainer) -> None:
        counts = self.counts or []
        for step in self._steps:
            step.detach()
        self._steps = []
        for index, optimizer in enumerate(trainer.optimizers):
            count = counts[index] if index < len(counts) else 0
            # One at a time: should one be refused, those before it are known to be detached.
            self._steps.append(
                ScaledStep(optimizer, count=count, factor=partial(product, self.family), is_active=self.is_active)
            )
        if not self._was_hooked:
            self._was_hooked = True
            self._warn_of_a_jump()

    def _keys(self) -> list[tuple[str, Factor]]:
        names = [type(trick).__name__ for trick in self.family]
        return [(f"{name} {names[:index].count(name)}", self.family[index]) for index, name in enumerate(names)]

    def _warn_of_a_short_run(self, length: RunLength) -> None:
        longest = max(self.family, key=lambda trick: trick.warmup_steps)
        totals = (length.total_steps, *(trick.total_steps for trick in self.family))
        known = [total for total in totals if isinstance(total, int)]
        if known and (shortest := min(known)) < longest.warmup_steps:
            rank_zero_warn(
                f"{type(longest).__name__} lasts {longest.warmup_steps} optimizer steps, but the run only {shortest}: "
                "it ends before the warm-up does"
            )

    def _warn_of_a_jump(self) -> None:
        for step, planned in zip(self._steps, self._planned, strict=False):
            now = product(self.family, step.count)
            if not math.isclose(now, planned, rel_tol=1e-6, abs_tol=1e-9):
                lr = float(step.optimizer.param_groups[0]["lr"])
                names = " and ".join(type(trick).__name__ for trick in self.family)
                rank_zero_warn(
                    f"The learning rate jumps where the run resumes: step {step.count} now uses {lr * now:g}, but the "
                    f"run so far would have used {lr * planned:g}, for {names} had another length or other arguments "
                    "there; give total_steps= (and a warm-up steps=) to keep a length"
                )
                return

    def _names_of_those_counting_batches(self, trainer: pl.Trainer) -> list[str]:
        # Those that cannot do without the number of batches; asked of copies, for the answer would change them.
        unknown = read_run_length(trainer, math.inf)
        names = []
        for trick in self.family:
            try:
                copy.copy(trick).resolve(unknown, self.family)
            except MisconfigurationException:
                names.append(type(trick).__name__)
        return names

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
