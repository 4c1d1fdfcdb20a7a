"""How long a run is, in optimizer steps, and whether its first epoch bears that out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer

from lightning_tricks.engine.foreign import callbacks_of_kind


@dataclass(frozen=True)
class RunLength:
    """The optimizer steps of one epoch and of the whole run.

    Args:
        steps_per_epoch: the number, or a str that says why it is unknown.
        total_steps: the number, or a str that says why it is unknown.
    """

    steps_per_epoch: int | str
    total_steps: int | str

    def steps(self, owner: str, epochs: float, *, instead: str = "steps=") -> int:
        """Turns epochs into steps, rounded to the nearest.

        Raises:
            MisconfigurationException: the steps of an epoch are not known.
        """
        if isinstance(self.steps_per_epoch, str):
            raise MisconfigurationException(
                f"{owner} counts in epochs, but the number of optimizer steps in an epoch cannot be known: "
                f"{self.steps_per_epoch}; give {instead} instead"
            )
        return math.floor(epochs * self.steps_per_epoch + 0.5)

    def total(self, owner: str) -> int:
        """Returns the steps of the whole run.

        Raises:
            MisconfigurationException: they are not known.
        """
        if isinstance(self.total_steps, str):
            raise MisconfigurationException(
                f"{owner} needs the number of optimizer steps in the whole run, which cannot be known: "
                f"{self.total_steps}; give total_steps= (and a warm-up steps= instead of epochs=)"
            )
        return self.total_steps


def read_run_length(trainer: pl.Trainer, batches: float) -> RunLength:
    """Reads the length of a run whose loaders have been set up, which is so from ``on_train_start`` on.

    Args:
        trainer: the run's trainer.
        batches: the batches of an epoch, infinite where they are unknown.
    """
    per_epoch = _steps_per_epoch(trainer, batches)
    if trainer.max_steps != -1 and len(trainer.optimizers) > 1:
        total: int | str = "max_steps counts the steps of several optimizers together"
    elif trainer.max_epochs == -1:
        total = "the Trainer has neither max_epochs nor max_steps" if trainer.max_steps == -1 else trainer.max_steps
    elif isinstance(per_epoch, str):
        total = per_epoch
    elif any(
        averaging.pl_module_contains_batch_norm(trainer.lightning_module)
        for averaging in callbacks_of_kind(trainer, "StochasticWeightAveraging")
    ):
        total = "StochasticWeightAveraging adds an epoch for the batch normalisation"
    else:
        total = per_epoch * max(trainer.max_epochs or 0, 1)
        if trainer.max_steps != -1:
            total = min(total, trainer.max_steps)
    return RunLength(per_epoch, total)


def _steps_per_epoch(trainer: pl.Trainer, batches: float) -> int | str:
    if math.isinf(batches):
        return "the train dataloader has no length"
    if any(
        scheduler.going_to_accumulate_grad_batches()
        for scheduler in callbacks_of_kind(trainer, "GradientAccumulationScheduler")
    ):
        return "GradientAccumulationScheduler changes it during the run"
    return math.ceil(batches / trainer.accumulate_grad_batches)


class FirstEpoch:
    """Counts what the first epoch should do and does.

    A step that Lightning's gradient scaler skips was asked for, so it is none that the module leaves out.

    Args:
        counts: the steps that each optimizer has made before.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts
        self.suggested = 0
        self.asked = [0] * len(counts)
        self._asked_now: set[int] = set()

    def before_step(self, trainer: pl.Trainer, optimizer: Optimizer) -> None:
        """Notes that an optimizer is asked for a step."""
        self._asked_now |= {index for index, one in enumerate(trainer.optimizers) if one is optimizer}

    def batch_ended(self, trainer: pl.Trainer, batch_idx: int) -> None:
        """Notes a batch: at some of them, or at all, a step is to be expected."""
        is_last = trainer.is_last_batch or batch_idx + 1 == trainer.num_training_batches
        self.suggested += is_last or (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        for index in self._asked_now:
            self.asked[index] += 1
        self._asked_now.clear()

    def check(self, counts: Sequence[int], names: Sequence[str], counting_batches: Sequence[str]) -> None:
        """Compares, at the end of the epoch.

        Args:
            counts: the steps that each optimizer has made by now.
            names: the tricks.
            counting_batches: those whose lengths were counted from the batches of an epoch.

        Raises:
            MisconfigurationException: an optimizer has made another number of steps, by more than a tenth, although
                lengths were counted from batches; or no optimizer has made any.
        """
        made = [now - before for now, before in zip(counts, self.counts, strict=True)]
        if not counting_batches and not any((*made, *self.asked)):
            raise MisconfigurationException(
                f"{' and '.join(names)} work inside optimizer.step(), but in the first epoch no optimizer made a step "
                f"there: {made}; call it for every step, for steps= and total_steps= count its calls"
            )
        if counting_batches and not all(map(self._is_close, made, self.asked)):
            raise MisconfigurationException(
                f"{' and '.join(counting_batches)} took each optimizer to make {self.suggested} steps in the first "
                f"epoch, as its batches suggest, but they made {made}; give steps= and total_steps= instead of epochs"
            )

    def _is_close(self, made: int, asked: int) -> bool:
        allowed = self.suggested / 10
        return abs(made - self.suggested) <= allowed or (made < self.suggested and self.suggested - asked <= allowed)
