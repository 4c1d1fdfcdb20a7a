"""Learning-rate schedules: each factory checks its arguments once and returns a function from step to factor."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeAlias, get_args

from lightning_tricks.functional.checks import check_choice, check_integer, check_number

Schedule: TypeAlias = Callable[[int], float]
"""From the optimizer step, 0 or more, also past the end, to the float that multiplies the learning rate; picklable."""
ScalingRule: TypeAlias = Literal["linear", "sqrt"]


def linear_scaling(*, batch_size: int, base_batch_size: int = 256, rule: ScalingRule = "linear") -> Schedule:
    """Scales the learning rate with the batch size.

    ``batch_size / base_batch_size`` at every step with ``rule="linear"``, its square root with ``rule="sqrt"``.

    Args:
        batch_size: samples per optimizer step, over all ranks and accumulated batches; at least 1.
        base_batch_size: batch size for which the nominal learning rate was chosen; at least 1.
        rule: ``"linear"`` or ``"sqrt"``.

    Returns:
        The schedule; its factors are above 0.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

    Example:
        >>> linear_scaling(batch_size=1024)(0), linear_scaling(batch_size=1024, rule="sqrt")(0)
        (4.0, 2.0)

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, section 2.1. The square root is from
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
    """
    size = check_integer("linear_scaling", "batch_size", batch_size, low=1)
    base = check_integer("linear_scaling", "base_batch_size", base_batch_size, low=1)
    check_choice("linear_scaling", "rule", rule, get_args(ScalingRule))
    return partial(_plateaus, (size / base if rule == "linear" else math.sqrt(size / base),), ())


def constant_warmup(*, warmup_steps: int, factor: float = 0.1) -> Schedule:
    """Holds the learning rate at a lower constant first: ``factor`` for step < warmup_steps, then 1.

    Args:
        warmup_steps: length of the warm-up; at least 0, where 0 means no warm-up.
        factor: the factor during the warm-up; above 0.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

    Example:
        >>> list(map(constant_warmup(warmup_steps=2), range(4)))
        [0.1, 0.1, 1.0, 1.0]

    References:
        He et al., "Deep Residual Learning", arXiv:1512.03385, section 4.2 (ResNet-110).
    """
    length = check_integer("constant_warmup", "warmup_steps", warmup_steps, low=0)
    return partial(_plateaus, (check_number("constant_warmup", "factor", factor, above=0), 1.0), (length,))


def gradual_warmup(*, warmup_steps: int, start_factor: float | None = None, multiplier: float = 1.0) -> Schedule:
    """Lets the learning rate grow linearly first.

    With t the step, T the length, s the start factor and m the multiplier:

    - by default ``(t + 1) / T`` for t < T, then 1;
    - with m > 1: ``1 + (m − 1)·t / T`` for t < T, then m;
    - with s: ``s + (m − s)·t / T`` for t < T, then m (which is 1 unless given).

    Args:
        warmup_steps: length of the warm-up; at least 0, where 0 means no warm-up (the factor is ``multiplier``).
        start_factor: the factor at step 0, in [0, 1].
        multiplier: the factor after the warm-up; at least 1.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

    Example:
        >>> list(map(gradual_warmup(warmup_steps=4), range(6)))
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
        >>> list(map(gradual_warmup(warmup_steps=2, multiplier=3), range(4)))
        [1.0, 2.0, 3.0, 3.0]

    References:
        He et al., "Bag of Tricks for Image Classification", arXiv:1812.01187, section 3.1, where batch i of m, counted
        from 1, gets i/m of the learning rate. Goyal et al., arXiv:1706.02677, section 2.2, for the ramp to a multiple.
    """
    length = check_integer("gradual_warmup", "warmup_steps", warmup_steps, low=0)
    end = check_number("gradual_warmup", "multiplier", multiplier, low=1)
    if start_factor is None:
        return partial(_ramp, 1.0, end, length, 0) if end > 1 else partial(_ramp, 0.0, 1.0, length, 1)
    start = check_number("gradual_warmup", "start_factor", start_factor, low=0, high=1)
    return partial(_ramp, start, end, length, 0)


def cosine_decay(*, total_steps: int, warmup_steps: int = 0, min_factor: float = 0.0) -> Schedule:
    """Lowers the learning rate along half a cosine, from 1 to ``min_factor``.

    ``min + (1 − min)·½(1 + cos(π·t' / T'))`` with t' = step − warmup_steps and T' = total_steps − warmup_steps: 1 up to
    the end of the warm-up, ``min_factor`` at ``total_steps`` and after. A warm-up that reaches ``total_steps`` leaves
    no decay: the factor is 1 up to its end, then ``min_factor``.

    Args:
        total_steps: length of the whole run, the warm-up included; at least 1.
        warmup_steps: where the decay begins; at least 0.
        min_factor: the factor at the end, in [0, 1].

    Returns:
        The schedule.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

    Example:
        >>> [round(factor, 3) for factor in map(cosine_decay(total_steps=4), range(6))]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    References:
        Loshchilov and Hutter, "SGDR", arXiv:1608.03983, one period of it; arXiv:1812.01187, section 5.1.
    """
    return partial(_cosine, *_decay("cosine_decay", total_steps, warmup_steps, min_factor))


def step_decay(
    *, every_steps: int | None = None, milestones: Sequence[int] | None = None, gamma: float = 0.1
) -> Schedule:
    """Multiplies the learning rate by ``gamma`` at intervals or at milestones.

    ``gamma ** (step // every_steps)``, or ``gamma`` to the number of milestones m with step ≥ m. The step is counted
    from the start of the run: a warm-up does not move the drops.

    Args:
        every_steps: steps between two drops; at least 1.
        milestones: steps at which it drops, increasing, each at least 0. Give exactly one of the two.
        gamma: the factor of each drop, above 0 and at most 1.

    Returns:
        The schedule.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range, or not exactly one of ``every_steps`` and ``milestones`` is given.

    Example:
        >>> list(map(step_decay(every_steps=2, gamma=0.5), range(5)))
        [1.0, 1.0, 0.5, 0.5, 0.25]
        >>> list(map(step_decay(milestones=[1, 4], gamma=0.5), range(5)))
        [1.0, 0.5, 0.5, 0.5, 0.25]

    References:
        He et al., arXiv:1512.03385, section 3.4 (at milestones), and Goyal et al., arXiv:1706.02677, section 5.1.
    """
    drop = check_number("step_decay", "gamma", gamma, above=0, high=1)
    if (every_steps is None) == (milestones is None):
        raise ValueError(
            "step_decay needs exactly one of every_steps and milestones, "
            f"but got every_steps={every_steps!r} and milestones={milestones!r}."
        )
    if milestones is None:
        return partial(_drops_at_intervals, drop, check_integer("step_decay", "every_steps", every_steps, low=1))
    steps = [check_integer("step_decay", "each milestone", milestone, low=0) for milestone in milestones]
    if steps != sorted(set(steps)):
        raise ValueError(f"step_decay needs milestones to increase, but got {list(milestones)!r}.")
    return partial(_plateaus, tuple(drop**k for k in range(len(steps) + 1)), tuple(steps))


def polynomial_decay(
    *, total_steps: int, warmup_steps: int = 0, power: float = 1.0, min_factor: float = 0.0
) -> Schedule:
    """Lowers the learning rate as a power of the remaining share of the run, from 1 to ``min_factor``.

    ``min + (1 − min)·(1 − t' / T')^power`` with t' = step − warmup_steps and T' = total_steps − warmup_steps: 1 up to
    the end of the warm-up, ``min_factor`` at ``total_steps`` and after. ``power=1`` is a straight line. A warm-up that
    reaches ``total_steps`` leaves no decay: the factor is 1 up to its end, then ``min_factor``.

    Args:
        total_steps: length of the whole run, the warm-up included; at least 1.
        warmup_steps: where the decay begins; at least 0.
        power: the exponent, above 0.
        min_factor: the factor at the end, in [0, 1].

    Returns:
        The schedule.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

    Example:
        >>> list(map(polynomial_decay(total_steps=4, power=2), range(6)))
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]

    References:
        Liu et al., "ParseNet", arXiv:1506.04579 (the "poly" policy); Chen et al., "DeepLab", arXiv:1606.00915.
    """
    exponent = check_number("polynomial_decay", "power", power, above=0)
    return partial(_polynomial, exponent, *_decay("polynomial_decay", total_steps, warmup_steps, min_factor))


def _decay(owner: str, total_steps: int, warmup_steps: int, min_factor: float) -> tuple[int, int, float]:
    """Checks where a decay begins and ends."""
    end = check_integer(owner, "total_steps", total_steps, low=1)
    begin = check_integer(owner, "warmup_steps", warmup_steps, low=0)
    return begin, end, check_number(owner, "min_factor", min_factor, low=0, high=1)


# Functions of the module, not closures: a schedule must survive pickling with the callback that holds it.
def _plateaus(factors: Sequence[float], milestones: Sequence[int], step: int) -> float:
    return factors[bisect_right(milestones, step)]


def _ramp(start: float, end: float, length: int, head_start: int, step: int) -> float:
    return start + (end - start) * (step + head_start) / length if step < length else end


def _drops_at_intervals(gamma: float, every: int, step: int) -> float:
    return gamma ** (step // every)


def _cosine(begin: int, end: int, low: float, step: int) -> float:
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * _progress(begin, end, step)))


def _polynomial(power: float, begin: int, end: int, low: float, step: int) -> float:
    return low + (1 - low) * (1 - _progress(begin, end, step)) ** power


def _progress(begin: int, end: int, step: int) -> float:
    """Share of the decay that is over: 0 before it begins, 1 at its end and after."""
    if step < begin:
        return 0.0
    return (step - begin) / (end - begin) if step < end else 1.0
