"""PolynomialDecay: the learning rate falls as a power of what remains of the run."""

from lightning_tricks.callbacks.decay import WholeRunDecay
from lightning_tricks.functional.lr import Schedule, polynomial_decay


class PolynomialDecay(WholeRunDecay):
    """Multiplies the learning rate by a power of the share of the run that remains.

    The formula is that of :func:`~lightning_tricks.functional.polynomial_decay`. The decay begins where the longest
    warm-up among the run's tricks ends, and stays at its end after ``total_steps``. A scheduler of the module's own is
    multiplied by it; so are the rates that ``StochasticWeightAveraging`` sets.

    Args:
        power: the exponent, above 0; 1 is a straight line.
        min_factor: the factor at the end, in [0, 1].
        total_steps: the optimizer steps of the whole run, the warm-up included, at least 1. By default they are read
            from the Trainer when training starts; where they cannot be known, it must be given.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.
        MisconfigurationException: by ``fit``, if the run's length is unknown or the run has a second decay.

    Example:
        >>> [PolynomialDecay(total_steps=4).factor(step) for step in range(5)]
        [1.0, 0.75, 0.5, 0.25, 0.0]

    References:
        Liu et al., "ParseNet", arXiv:1506.04579; Chen et al., "DeepLab", arXiv:1606.00915.
    """

    def __init__(self, power: float = 1.0, *, min_factor: float = 0.0, total_steps: int | None = None) -> None:
        self.power = power
        self.min_factor = min_factor
        super().__init__(total_steps=total_steps)

    def schedule(self, *, total_steps: int, warmup_steps: int) -> Schedule:
        """Returns a power of the remaining share between two steps."""
        return self._schedule(
            polynomial_decay,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            power=self.power,
            min_factor=self.min_factor,
        )
