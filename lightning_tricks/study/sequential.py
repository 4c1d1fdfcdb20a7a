"""Planned looks at a study: when an arm is decided, when it cannot be, and how many seeds it would take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_tricks.study.statistics import CorrectedT, holm

LOOKS = (4, 8, 16, 32)
FUTILE_FROM = 8
LEAST_POWER = 0.3


@dataclass(frozen=True)
class Look:
    """What one look says of every arm.

    Attributes:
        adjusted: arm to its p-value, over all looks and adjusted over the arms.
        open: the arms that need more seeds; the others are decided or futile, or this is the last look.
    """

    adjusted: Mapping[str, float]
    open: Sequence[str]


def look(tests: Mapping[str, Sequence[CorrectedT]], *, looks: Sequence[int] = LOOKS, level: float = 0.05) -> Look:
    """Judges all arms at one look.

    The bound holds whichever arms are stopped and whenever, so futility binds nobody.

    Args:
        tests: every planned arm to its tests, one per look that it took part in.
        looks: all planned numbers of seeds, in order.
        level: the share of studies that may make any false claim.

    Example:
        >>> tests = {"mixup": [CorrectedT(0.05, 0.002, 3)], "cutmix": [CorrectedT(0.01, 0.02, 3)]}
        >>> look(tests).open
        ['cutmix']
    """
    p_values = [[sequential_p([test.p_difference() for test in arm], num_looks=len(looks))] for arm in tests.values()]
    adjusted = dict(zip(tests, (group[0] for group in holm(p_values)), strict=True))
    furthest = max((test.degrees + 1 for arm in tests.values() for test in arm), default=0)
    strictest = level / (len(looks) * max(1, len(tests)))
    undecided = [
        arm
        for arm, own in tests.items()
        if furthest < looks[-1]
        and adjusted[arm] > level
        and (not own or own[-1].degrees + 1 == furthest)
        and not (own and is_futile(own[-1], last=looks[-1], level=strictest))
    ]
    return Look(adjusted, undecided)


def sequential_p(p_values: Sequence[float], *, num_looks: int) -> float:
    """The p-value over the looks so far: the smallest times the number of all planned looks, at most 1."""
    return min(1.0, num_looks * min(p_values, default=1.0))


def predictive_power(test: CorrectedT, *, last: int, level: float) -> float:
    """The probability that the paired t over ``last`` seeds is significant, given the seeds of ``test``.

    The future seeds are drawn from what the seen ones say of mean and spread, with a flat prior for the mean.
    """
    from scipy.special import stdtr, stdtrit

    n = round(test.degrees) + 1
    if n < 2:
        return 1.0
    sd = test.standard_error * math.sqrt(n)
    needed = float(stdtrit(last - 1, 1 - level / 2)) * sd / math.sqrt(last)
    if n >= last or sd == 0:
        return float(abs(test.mean) >= needed and test.mean != 0)
    spread = sd * math.sqrt((last - n) / (n * last))
    return float(stdtr(n - 1, (test.mean - needed) / spread) + stdtr(n - 1, (-test.mean - needed) / spread))


def is_futile(test: CorrectedT, *, last: int, level: float) -> bool:
    """Whether the arm has eight seeds and is unlikely to be decided by the last look."""
    return test.degrees + 1 >= FUTILE_FROM and predictive_power(test, last=last, level=level) < LEAST_POWER


def seeds_needed(mean: float, sd: float, *, level: float, power: float = 0.8, most: int = 10_000) -> int | None:
    """The fewest seeds with which a paired t shows this mean difference with this power; ``None`` beyond ``most``.

    Args:
        mean: of the differences, as seen so far.
        sd: their standard deviation.
        level: two-sided, of the one test; an arm of a study has its share of the study's level.
        power: the probability of showing it.
        most: where the search ends.
    """
    from scipy.special import nctdtr, stdtrit

    def shown(n: int) -> bool:
        if sd == 0:
            return mean != 0
        needed, shift = float(stdtrit(n - 1, 1 - level / 2)), abs(mean) / sd * math.sqrt(n)
        # Beyond this the noncentral t is normal, and its series underflows.
        above = 1.0 if shift > needed + 10 else 1 - float(nctdtr(n - 1, shift, needed))
        return above >= power

    low, high = 1, 2
    while not shown(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def detectable_difference(
    sd: float, *, train_size: int, eval_size: int, level: float = 0.05, power: float = 0.8
) -> float:
    """The smallest difference that the corrected resampled t can show with any number of seeds.

    Its standard error falls to sd·√(eval_size/train_size) and no further.
    """
    from scipy.special import ndtri

    return sd * math.sqrt(eval_size / train_size) * float(ndtri(1 - level / 2) + ndtri(power))


def with_images(test: CorrectedT, image_differences: Sequence[float]) -> CorrectedT:
    """Adds the sampling of the evaluation images to a paired t.

    Seeds and images are crossed, so that the variance of the mean is at most the sum of what each gives alone; the
    degrees of freedom are Satterthwaite's.

    Args:
        test: the paired t over the seeds.
        image_differences: one per image: the arm's score minus its reference's, averaged over the seeds.

    Raises:
        ValueError: if there are fewer than two images.
    """
    m = len(image_differences)
    if m < 2:
        raise ValueError(f"with_images needs two or more images, but got {m}.")
    mean = math.fsum(image_differences) / m
    of_images = math.fsum((x - mean) ** 2 for x in image_differences) / (m - 1) / m
    of_seeds = test.standard_error**2
    variance = of_seeds + of_images
    if test.degrees == 0 or variance == 0:
        return test
    degrees = variance**2 / (of_seeds**2 / test.degrees + of_images**2 / (m - 1))
    return CorrectedT(test.mean, math.sqrt(variance), degrees)
