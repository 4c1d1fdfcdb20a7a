"""How long a run is, counted in the steps of its optimizer."""

import math
from dataclasses import dataclass

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks.engine.lightnings_own import callbacks_of_kind


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


def run_length(trainer: pl.Trainer, batches: float) -> RunLength:
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
