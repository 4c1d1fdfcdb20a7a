"""CosineDecay: the learning rate falls along half a cosine."""

from lightning_tricks.callbacks.decay import WholeRunDecay
from lightning_tricks.functional.lr import Schedule, cosine_decay


class CosineDecay(WholeRunDecay):
    """Multiplies the learning rate by half a cosine, from 1 at the end of the warm-up to ``min_factor`` at the end.

    The formula is that of :func:`~lightning_tricks.functional.cosine_decay`. The decay begins where the longest warm-up
    among the run's tricks ends, and stays at its end after ``total_steps``. A scheduler of the module's own is
    multiplied by it; so are the rates that ``StochasticWeightAveraging`` sets.

    Args:
        min_factor: the factor at the end, in [0, 1].
        total_steps: the optimizer steps of the whole run, the warm-up included, at least 1. By default they are read
            from the Trainer when training starts; where they cannot be known, it must be given.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.
        MisconfigurationException: by ``fit``, if the run's length is unknown or the run has a second decay.

    Example:
        >>> [round(CosineDecay(total_steps=4).factor(step), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]

    References:
        Loshchilov and Hutter, "SGDR", arXiv:1608.03983; He et al., arXiv:1812.01187, section 5.1.
    """

    def __init__(self, min_factor: float = 0.0, *, total_steps: int | None = None) -> None:
        self.min_factor = min_factor
        super().__init__(total_steps=total_steps)

    def schedule(self, *, total_steps: int, warmup_steps: int) -> Schedule:
        """Returns half a cosine between two steps."""
        return self._schedule(
            cosine_decay, total_steps=total_steps, warmup_steps=warmup_steps, min_factor=self.min_factor
        )
