"""Base of the warm-ups: a length in epochs or steps."""

from collections.abc import Sequence

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.engine.foreign import warming_schedulers
from lightning_tricks.engine.run_length import RunLength
from lightning_tricks.functional.checks import check_integer, check_number


class Warmup(LRTrick):
    """A trick that holds the learning rate low for a time, given in epochs or in optimizer steps.

    Args:
        epochs: the length in epochs, at least 0, a fraction too; rounded to the nearest step.
        steps: the length in optimizer steps, at least 0.

    Raises:
        TypeError: the length is not a number.
        ValueError: the length is negative, or not exactly one of the two is given.
    """

    def __init__(self, *, epochs: float | None = None, steps: int | None = None) -> None:
        owner = type(self).__name__
        if (epochs is None) == (steps is None):
            raise ValueError(f"{owner} needs either epochs or steps, but got epochs={epochs!r} and steps={steps!r}.")
        if epochs is not None:
            check_number(owner, "epochs", epochs, low=0)
        if steps is not None:
            check_integer(owner, "steps", steps, low=0)
        self.epochs = epochs
        self.steps = steps
        self._length_in_steps = steps

    @property
    def warmup_steps(self) -> int:
        """The length in optimizer steps.

        Raises:
            MisconfigurationException: it was given in epochs and training has not started.
        """
        if self._length_in_steps is None:
            raise MisconfigurationException(
                f"{type(self).__name__}(epochs={self.epochs}) needs the run's steps per epoch to say what its factor "
                "is: it knows them when training has started; give steps= to ask before."
            )
        return self._length_in_steps

    def resolve(self, length: RunLength, tricks: Sequence[LRTrick]) -> None:
        """Turns the length into optimizer steps."""
        if self.epochs is not None:
            self._length_in_steps = length.steps(type(self).__name__, self.epochs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warns where the module's own scheduler begins with a warm-up too."""
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0 and self.warmup_steps and (schedulers := warming_schedulers(trainer)):
            rank_zero_warn(
                f"Two warm-ups multiply: {type(self).__name__} and the module's own {' and '.join(schedulers)}, which "
                "begins below the learning rate that it rises to; leave one of them out."
            )
