"""The interval of a mean difference over repeated random splits of one data set."""

import math
from collections.abc import Sequence

from lightning_tricks.functional.checks import check_integer, check_number


def student_t_quantile(confidence: float, *, degrees: int) -> float:
    """The ``t`` with P(-t < T < t) = ``confidence`` for Student's T.

    For whole degrees of freedom ν and t = √ν·tan θ that probability is a finite sum of powers of cos θ, and grows with
    θ; bisection over θ in (0, π/2) inverts it.

    Args:
        confidence: the probability between −t and t, in (0, 1).
        degrees: degrees of freedom ν, at least 1.

    Returns:
        The two-sided quantile, a positive number.

    Raises:
        TypeError: if an argument is not a number, or ``degrees`` not an integer.
        ValueError: for a ``confidence`` outside (0, 1) or fewer than one degree of freedom.

    Example:
        >>> round(student_t_quantile(0.95, degrees=2), 3)
        4.303

    References:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    check_number("student_t_quantile", "confidence", confidence, above=0, below=1)
    check_integer("student_t_quantile", "degrees", degrees, low=1)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _central_probability(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def corrected_interval(
    differences: Sequence[float], *, train_size: int, validation_size: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The corrected resampled t interval of a mean difference.

    The n differences come from n random splits of the same data, so that their training parts overlap and the usual
    s²/n is far too small. The correction takes s²·(1/n + validation_size/train_size) as the variance of the mean, with
    n − 1 degrees of freedom. One difference alone has no interval: both ends are NaN.

    Args:
        differences: one number a split, each arm's metric minus the baseline's on that split.
        train_size: samples in the training part of each split.
        validation_size: samples in the part that the metric was computed on.
        confidence: in (0, 1).

    Returns:
        The lower and the upper end, in the unit of the differences.

    Raises:
        TypeError: if a size is not an integer or ``confidence`` not a number.
        ValueError: if there is no difference, a size is not positive, or ``confidence`` is outside (0, 1).

    Example:
        >>> low, high = corrected_interval([0.01, 0.02, 0.03], train_size=900, validation_size=300)
        >>> round(low, 4), round(high, 4)
        (-0.0151, 0.0551)

    References:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
    """
    if not differences:
        raise ValueError("corrected_interval needs at least one difference, but got none")
    check_integer("corrected_interval", "train_size", train_size, low=1)
    check_integer("corrected_interval", "validation_size", validation_size, low=1)
    check_number("corrected_interval", "confidence", confidence, above=0, below=1)
    n = len(differences)
    if n == 1:
        return math.nan, math.nan
    mean = math.fsum(differences) / n
    variance = math.fsum((difference - mean) ** 2 for difference in differences) / (n - 1)
    half = student_t_quantile(confidence, degrees=n - 1) * math.sqrt(variance * (1 / n + validation_size / train_size))
    return mean - half, mean + half


def _central_probability(theta: float, degrees: int) -> float:
    """P(-t < T < t) with t = √ν·tan θ."""
    cosine, sine = math.cos(theta), math.sin(theta)
    if degrees == 1:
        return 2 * theta / math.pi
    odd = degrees % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total
