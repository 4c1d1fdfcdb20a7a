"""Compares the optimizer steps of a fit's first epoch with those that its batches suggest."""

from collections.abc import Sequence

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer


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
