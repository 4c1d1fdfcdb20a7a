"""Bases of the decays: one per run, which begins where the longest warm-up ends."""

from abc import abstractmethod
from collections.abc import Sequence

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.engine.foreign import decaying_schedulers
from lightning_tricks.engine.run_length import RunLength
from lightning_tricks.functional.lr import Schedule


class Decay(LRTrick):
    """A trick that lowers the learning rate during the run. A run has one of them."""

    def check_beside(self, tricks: Sequence[LRTrick]) -> None:
        """Refuses a second decay."""
        decays = [type(trick).__name__ for trick in tricks if isinstance(trick, Decay)]
        if len(decays) > 1:
            raise MisconfigurationException(
                f"A run has one decay of the learning rate, but got {' and '.join(decays)}: leave only one of them."
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says so where the module's own scheduler decays the learning rate too."""
        super().on_train_start(trainer, pl_module)
        if schedulers := decaying_schedulers(trainer):
            rank_zero_info(
                f"Two decays multiply: {type(self).__name__} and the module's own {' and '.join(schedulers)}; leave "
                "one of them out unless both are meant"
            )


class WholeRunDecay(Decay):
    """A decay from the end of the longest warm-up to the end of the run.

    Args:
        total_steps: the optimizer steps of the whole run, the warm-up included, at least 1; by default the run's own.

    Raises:
        TypeError: ``total_steps`` is not an integer.
        ValueError: ``total_steps`` is below 1.
    """

    def __init__(self, *, total_steps: int | None = None) -> None:
        self.schedule(total_steps=1 if total_steps is None else total_steps, warmup_steps=0)  # checks the arguments
        self.total_steps = total_steps
        self._end = total_steps
        self._tricks: Sequence[LRTrick] = ()

    @abstractmethod
    def schedule(self, *, total_steps: int, warmup_steps: int) -> Schedule:
        """Returns the decay that begins after ``warmup_steps`` and ends at ``total_steps``."""

    def factor(self, step: int) -> float:
        """Returns what the learning rate is multiplied by at an optimizer step, from 0."""
        return self.schedule(total_steps=self.end_step, warmup_steps=self.begin_step)(step)

    @property
    def begin_step(self) -> int:
        """The optimizer step at which the decay begins; 0 outside a run."""
        return max((trick.warmup_steps for trick in self._tricks), default=0)

    @property
    def end_step(self) -> int:
        """The optimizer step at which the decay ends.

        Raises:
            MisconfigurationException: ``total_steps`` was not given and training has not started.
        """
        if self._end is None:
            raise MisconfigurationException(
                f"{type(self).__name__} needs the number of the run's steps to say what its factor is: it knows them "
                "when training has started; give total_steps= to ask before."
            )
        return self._end

    def resolve(self, length: RunLength, tricks: Sequence[LRTrick]) -> None:
        """Learns where the run ends and which warm-ups it has."""
        self._tricks = tricks
        if self.total_steps is None:
            self._end = length.total(type(self).__name__)
