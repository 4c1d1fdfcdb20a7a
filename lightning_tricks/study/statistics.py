"""The mean difference over repeated random splits of one data set: its interval, and tests, many at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class CorrectedT:
    """The t of a mean difference, paired or corrected for resampling.

    Attributes:
        mean: of the differences.
        standard_error: of that mean; NaN with one difference.
        degrees: of freedom; of a plain or corrected t the number of differences less one.
    """

    mean: float
    standard_error: float
    degrees: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """The two ends of the mean's interval; both NaN with one difference.

        Args:
            confidence: in (0, 1).

        Raises:
            ValueError: for a ``confidence`` outside (0, 1).
        """
        if not 0 < confidence < 1:
            raise ValueError(f"CorrectedT: expected `confidence` in (0, 1), but got {confidence}.")
        if self.degrees == 0:
            return math.nan, math.nan
        from scipy.special import stdtrit

        half = float(stdtrit(self.degrees, (1 + confidence) / 2)) * self.standard_error
        return self.mean - half, self.mean + half

    def p_difference(self) -> float:
        """The two-sided p-value of "there is no difference"; 1 with one difference."""
        return min(1.0, 2 * self._tail(abs(self.mean)))

    def p_equivalence(self, margin: float) -> float:
        """The p-value of "the difference is at least ``margin`` one way or the other": two one-sided tests.

        Args:
            margin: above 0, in the unit of the differences.
        """
        return self._tail(margin - abs(self.mean))

    def _tail(self, distance: float) -> float:
        """P(T ≥ distance / standard error)."""
        if self.degrees == 0:
            return 1.0
        if self.standard_error == 0:
            return 0.0 if distance > 0 else 1.0
        from scipy.special import stdtr

        return float(stdtr(self.degrees, -distance / self.standard_error))


def corrected_t(
    differences: Sequence[float], *, train_size: int, eval_size: int, resolution: float = 0.0
) -> CorrectedT:
    """The corrected resampled t of differences from n random splits of the same data.

    Their training parts overlap, so that the usual s²/n is far too small as the variance of the mean; the correction
    takes s²·(1/n + eval_size/train_size), with n − 1 degrees of freedom. A metric that comes in steps can differ by the
    same step in a few splits by chance; s is therefore taken to be at least ``resolution``/√12, the standard deviation
    of rounding to a step.

    Args:
        differences: one finite number per split, each arm's metric minus its reference's on that split.
        train_size: samples in the training part of each split.
        eval_size: samples in the part that the metric was computed on.
        resolution: the step of the metric, 0 for one without steps.

    Returns:
        Mean, standard error and degrees of freedom, in the unit of the differences.

    Raises:
        ValueError: if there is no difference, or a size is not positive.

    Example:
        >>> t = corrected_t([0.01, 0.02, 0.03], train_size=900, eval_size=300)
        >>> [round(end, 4) for end in t.interval(0.95)]
        [-0.0151, 0.0551]

    References:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    """
    if not differences:
        raise ValueError("corrected_t: expected at least one difference, but got none.")
    if train_size < 1 or eval_size < 1:
        raise ValueError(
            f"corrected_t: expected positive sizes, but got {train_size} training and {eval_size} evaluated samples."
        )
    return _t(differences, eval_size / train_size, resolution)


def paired_t(differences: Sequence[float], *, resolution: float = 0.0) -> CorrectedT:
    """The paired t over seeds that share one split: what they say of the training's randomness on this data.

    Args:
        differences: one finite number per seed, each arm's metric minus its reference's.
        resolution: the step of the metric; the standard deviation is at least that of rounding to it.

    Raises:
        ValueError: if there is no difference.

    Example:
        >>> t = paired_t([0.01, 0.02, 0.03])
        >>> [round(end, 4) for end in t.interval(0.95)]
        [-0.0048, 0.0448]
    """
    if not differences:
        raise ValueError("paired_t needs at least one difference, but got none.")
    return _t(differences, 0.0, resolution)


def _t(differences: Sequence[float], overlap: float, resolution: float) -> CorrectedT:
    """The t with the variance s²·(1/n + overlap)."""
    n = len(differences)
    mean = math.fsum(differences) / n
    if n == 1:
        return CorrectedT(mean, math.nan, 0)
    # Measured from the first, equal differences have a variance of exactly zero.
    shifted = [difference - differences[0] for difference in differences]
    center = math.fsum(shifted) / n
    variance = max(math.fsum((x - center) ** 2 for x in shifted) / (n - 1), resolution**2 / 12)
    return CorrectedT(mean, math.sqrt(variance * (1 / n + overlap)), n - 1)


def holm(p_values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Holm's adjusted p-values of hypotheses that come in groups of which at most one member can be true.

    The i-th smallest p is multiplied by the number of hypotheses that can still be true, which is the number of
    groups with a member among it and the larger ones, and is at least as large as the adjusted ones before it. With
    one hypothesis per group that is Holm's step-down method; the count of logically related ones is Shaffer's. The
    chance of any false rejection is at most the level.

    Args:
        p_values: the p-values, group by group.

    Returns:
        The adjusted ones in the same places, at most 1.

    Example:
        >>> holm([[0.01], [0.04], [0.03]])
        [[0.03], [0.06], [0.06]]

    References:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979; Shaffer, Modified Sequentially Rejective
        Multiple Test Procedures, 1986.
    """
    order = sorted((p, i, j) for i, group in enumerate(p_values) for j, p in enumerate(group))
    adjusted = [[1.0] * len(group) for group in p_values]
    largest = 0.0
    for step, (p, i, j) in enumerate(order):
        candidates = len({group for _, group, _ in order[step:]})
        largest = max(largest, min(1.0, candidates * p))
        adjusted[i][j] = largest
    return adjusted


def metric_step(values: Sequence[float], eval_size: int) -> float:
    """The step that a metric moves in: above 0 unless all values are 0 or none is given.

    The smallest gap between two values is the step of an accuracy, an error or a rounded metric. With few values it can
    be many steps wide, so it counts for no more than one sample of all (of 1 or of 100 %) or the last digit. A macro
    average has no regular step; there the share of one sample in the largest value is the least.
    """
    largest = max(map(abs, values), default=0.0)
    noise = 1e-6 * largest  # of metrics in single precision
    one_sample = (1 if largest <= 1 else 100) / eval_size
    last_digit = next((10.0**-k for k in range(5) if all(abs(value - round(value, k)) <= noise for value in values)), 0)
    gaps = [high - low for low, high in pairwise(sorted(values)) if high - low > noise]
    return max(min([max(one_sample, last_digit), *gaps] if gaps else [one_sample]), largest / eval_size)
