"""LinearScaling: the learning rate grows with the batch."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_tricks.callbacks.gradual_warmup import GradualWarmup
from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.engine.foreign import callbacks_of_kind
from lightning_tricks.functional.lr import ScalingRule, Schedule, linear_scaling


class LinearScaling(LRTrick):
    """Multiplies the learning rate by the size of the batch, relative to that for which it was chosen.

    The formula is that of :func:`~lightning_tricks.functional.linear_scaling`; the batch is that behind one optimizer
    step: the loader's batch size times the ranks times the accumulated batches. When training starts, what was found
    and the learning rates that follow are written to the log of rank 0. Before it starts, ``factor`` supposes one rank
    and no accumulation.

    Args:
        base_batch_size: batch size for which the learning rate was chosen, at least 1.
        rule: ``"linear"``, or ``"sqrt"`` for the square root.
        batch_size: batch size on one rank, at least 1. By default that of the train dataloader, or of its batch
            sampler; where there are several loaders or none that says its batch size, it must be given.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.
        MisconfigurationException: by ``fit``, if the batch size is unknown, if accumulation changes during the run, or
            beside a second one or a ``GradualWarmup`` with a ``multiplier``, which would scale a second time.

    Example:
        >>> LinearScaling(batch_size=1024).factor(0)
        4.0

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, section 2.1.
    """

    def __init__(
        self, base_batch_size: int = 256, *, rule: ScalingRule = "linear", batch_size: int | None = None
    ) -> None:
        self.base_batch_size = base_batch_size
        self.rule = rule
        self.batch_size = batch_size
        self._whole_batch = batch_size
        self._scaling(1 if batch_size is None else batch_size)  # checks the arguments

    def factor(self, step: int) -> float:
        """Returns what the learning rate is multiplied by at an optimizer step, from 0: always the same.

        Raises:
            MisconfigurationException: ``batch_size`` was not given and training has not started.
        """
        if self._whole_batch is None:
            raise MisconfigurationException(
                "LinearScaling needs the batch size to say what its factor is: it finds it in the train dataloader "
                "when training starts; LinearScaling(batch_size=) tells it before."
            )
        return self._scaling(self._whole_batch)(step)

    def _scaling(self, batch_size: int) -> Schedule:
        return self._schedule(
            linear_scaling, batch_size=batch_size, base_batch_size=self.base_batch_size, rule=self.rule
        )

    def check_beside(self, tricks: Sequence[LRTrick]) -> None:
        """Refuses whatever would scale the learning rate a second time."""
        if sum(isinstance(trick, LinearScaling) for trick in tricks) > 1:
            raise MisconfigurationException(
                "Two LinearScaling would scale the learning rate twice: leave only one of them."
            )
        if any(isinstance(trick, GradualWarmup) and trick.multiplier > 1 for trick in tricks):
            raise MisconfigurationException(
                "LinearScaling and the multiplier of GradualWarmup would both scale the learning rate: leave one of "
                "them out; the ramp from η to kη is LinearScaling() with GradualWarmup(start_factor=1 / k)."
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finds the batch size, and says what follows from it."""
        for callback in callbacks_of_kind(trainer, "GradientAccumulationScheduler"):
            if callback.going_to_accumulate_grad_batches():
                raise MisconfigurationException(
                    "LinearScaling needs a batch of one size, but GradientAccumulationScheduler changes it during the "
                    "run; use Trainer(accumulate_grad_batches=) instead."
                )
        size = self.batch_size or _batch_size_of(trainer.train_dataloader)
        self._whole_batch = size * trainer.world_size * trainer.accumulate_grad_batches
        super().on_train_start(trainer, pl_module)
        factor = self.factor(0)
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        nominal = dict.fromkeys(float(group["lr"]) for group in groups)
        rates = ", ".join(f"{lr:g} becomes {lr * factor:g}" for lr in nominal)
        rank_zero_info(
            f"LinearScaling: a batch of {size} on each of {trainer.world_size} ranks, accumulated over "
            f"{trainer.accumulate_grad_batches} batches, is {self._whole_batch}; relative to {self.base_batch_size} "
            f"({self.rule}) the factor is {factor:g}, and the learning rate {rates}"
        )


def _batch_size_of(loader: Any) -> int:
    for source in (loader, getattr(loader, "batch_sampler", None)):
        size = getattr(source, "batch_size", None)
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            return size
    raise MisconfigurationException(
        "LinearScaling needs one train dataloader that says its batch size, as its own or its batch sampler's "
        f"attribute `batch_size`, but got {type(loader).__name__}; give batch_size= (of one rank)."
    )
