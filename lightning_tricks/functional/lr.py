"""What multiplies the learning rate at an optimizer step: one function of the step for each trick.

``step`` is the optimizer step counted from 0, an integer; every function is defined for all steps, also past the end
of the schedule, and returns a Python float. What each raises: TypeError for an argument of the wrong type, ValueError
for one out of its range.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from lightning_tricks.functional.checks import check_choice, check_integer, check_number


def linear_scaling(step: int, *, batch_size: int, base_batch_size: int = 256, rule: str = "linear") -> float:
    """The learning rate grows with the batch.

    ``batch_size / base_batch_size`` with ``rule="linear"``, its square root with ``rule="sqrt"``; the same at every
    step.

    Args:
        step: optimizer step, from 0.
        batch_size: samples behind one optimizer step, over all ranks and accumulated batches; at least 1.
        base_batch_size: batch size for which the nominal learning rate was chosen; at least 1.
        rule: ``"linear"`` or ``"sqrt"``.

    Returns:
        The factor, above 0.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.

    Example:
        >>> linear_scaling(0, batch_size=1024)
        4.0
        >>> linear_scaling(0, batch_size=1024, rule="sqrt")
        2.0

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, section 2.1. The square root is from
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
    """
    check_integer("linear_scaling", "step", step, low=0)
    size = check_integer("linear_scaling", "batch_size", batch_size, low=1)
    base = check_integer("linear_scaling", "base_batch_size", base_batch_size, low=1)
    check_choice("linear_scaling", "rule", rule, ("linear", "sqrt"))
    return size / base if rule == "linear" else math.sqrt(size / base)


def constant_warmup(step: int, *, warmup_steps: int, factor: float = 0.1) -> float:
    """A constant lower learning rate to begin with.

    ``factor`` for step < warmup_steps, then 1.

    Args:
        step: optimizer step, from 0.
        warmup_steps: length of the warm-up; at least 0, where 0 is no warm-up.
        factor: the factor during the warm-up; above 0.

    Returns:
        The factor.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.

    Example:
        >>> [constant_warmup(step, warmup_steps=2) for step in range(4)]
        [0.1, 0.1, 1.0, 1.0]

    References:
        He et al., "Deep Residual Learning", arXiv:1512.03385, section 4.2 (ResNet-110).
    """
    check_integer("constant_warmup", "step", step, low=0)
    check_integer("constant_warmup", "warmup_steps", warmup_steps, low=0)
    check_number("constant_warmup", "factor", factor, above=0)
    return float(factor) if step < warmup_steps else 1.0


def gradual_warmup(
    step: int, *, warmup_steps: int, start_factor: float | None = None, multiplier: float = 1.0
) -> float:
    """A learning rate that grows linearly to begin with.

    With t the step, T the length, s the start factor and m the multiplier:

    - by default ``(t + 1) / T`` for t < T, then 1;
    - with m > 1: ``1 + (m − 1)·t / T`` for t < T, then m;
    - with s: ``s + (m − s)·t / T`` for t < T, then m (which is 1 unless given).

    Args:
        step: optimizer step, from 0.
        warmup_steps: length of the warm-up; at least 0, where 0 is no warm-up (the factor is ``multiplier``).
        start_factor: the factor at step 0, in [0, 1].
        multiplier: the factor after the warm-up; at least 1.

    Returns:
        The factor.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.

    Example:
        >>> [gradual_warmup(step, warmup_steps=4) for step in range(6)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
        >>> [gradual_warmup(step, warmup_steps=2, multiplier=3) for step in range(4)]
        [1.0, 2.0, 3.0, 3.0]

    References:
        He et al., "Bag of Tricks for Image Classification", arXiv:1812.01187, section 3.1, where batch i of m, counted
        from 1, gets i/m of the learning rate. Goyal et al., arXiv:1706.02677, section 2.2, for the ramp to a multiple.
    """
    check_integer("gradual_warmup", "step", step, low=0)
    check_integer("gradual_warmup", "warmup_steps", warmup_steps, low=0)
    end = check_number("gradual_warmup", "multiplier", multiplier, low=1)
    if start_factor is not None:
        start = check_number("gradual_warmup", "start_factor", start_factor, low=0, high=1)
    elif end > 1:
        start = 1.0
    else:
        return (step + 1) / warmup_steps if step < warmup_steps else 1.0
    return start + (end - start) * step / warmup_steps if step < warmup_steps else end


def cosine_decay(step: int, *, total_steps: int, warmup_steps: int = 0, min_factor: float = 0.0) -> float:
    """Half a cosine, from 1 down to ``min_factor``.

    ``min + (1 − min)·½(1 + cos(π·t' / T'))`` with t' = step − warmup_steps and T' = total_steps − warmup_steps: 1 up to
    the end of the warm-up, ``min_factor`` at ``total_steps`` and ever after.

    Args:
        step: optimizer step, from 0.
        total_steps: length of the whole run, the warm-up included; at least 1.
        warmup_steps: where the decay begins; at least 0.
        min_factor: the factor at the end, in [0, 1].

    Returns:
        The factor.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.

    Example:
        >>> [round(cosine_decay(step, total_steps=4), 3) for step in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    References:
        Loshchilov and Hutter, "SGDR", arXiv:1608.03983, one period of it; arXiv:1812.01187, section 5.1.
    """
    check_number("cosine_decay", "min_factor", min_factor, low=0, high=1)
    progress = _progress("cosine_decay", step, total_steps, warmup_steps)
    return _between(min_factor, 0.5 * (1 + math.cos(math.pi * progress)))


def step_decay(
    step: int, *, every_steps: int | None = None, milestones: Sequence[int] | None = None, gamma: float = 0.1
) -> float:
    """A learning rate that drops by ``gamma`` at intervals or at milestones.

    ``gamma ** (step // every_steps)``, or ``gamma`` to the number of milestones m with step ≥ m. The step is counted
    from the start of the run: a warm-up does not move the drops.

    Args:
        step: optimizer step, from 0.
        every_steps: steps between two drops; at least 1.
        milestones: steps at which it drops, increasing, each at least 0. Exactly one of the two is to be given.
        gamma: what each drop multiplies by, above 0 and at most 1.

    Returns:
        The factor.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range, or not exactly one of ``every_steps`` and ``milestones`` is given.

    Example:
        >>> [step_decay(step, every_steps=2, gamma=0.5) for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
        >>> [step_decay(step, milestones=[1, 4], gamma=0.5) for step in range(5)]
        [1.0, 0.5, 0.5, 0.5, 0.25]

    References:
        He et al., arXiv:1512.03385, section 3.4 (at milestones), and Goyal et al., arXiv:1706.02677, section 5.1.
    """
    check_integer("step_decay", "step", step, low=0)
    check_number("step_decay", "gamma", gamma, above=0, high=1)
    if (every_steps is None) == (milestones is None):
        raise ValueError(
            "step_decay needs exactly one of every_steps and milestones, "
            f"but got every_steps={every_steps!r} and milestones={milestones!r}"
        )
    if milestones is None:
        return float(gamma) ** (step // check_integer("step_decay", "every_steps", every_steps, low=1))
    steps = [check_integer("step_decay", "each milestone", milestone, low=0) for milestone in milestones]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise ValueError(f"step_decay needs increasing milestones, but got {list(milestones)!r}")
    return float(gamma) ** bisect_right(steps, step)


def polynomial_decay(
    step: int, *, total_steps: int, warmup_steps: int = 0, power: float = 1.0, min_factor: float = 0.0
) -> float:
    """A power of the share of the run that remains, from 1 down to ``min_factor``.

    ``min + (1 − min)·(1 − t' / T')^power`` with t' = step − warmup_steps and T' = total_steps − warmup_steps: 1 up to
    the end of the warm-up, ``min_factor`` at ``total_steps`` and ever after. ``power=1`` is a straight line.

    Args:
        step: optimizer step, from 0.
        total_steps: length of the whole run, the warm-up included; at least 1.
        warmup_steps: where the decay begins; at least 0.
        power: the exponent, above 0.
        min_factor: the factor at the end, in [0, 1].

    Returns:
        The factor.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range.

    Example:
        >>> [polynomial_decay(step, total_steps=4, power=2) for step in range(6)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]

    References:
        Liu et al., "ParseNet", arXiv:1506.04579 (the "poly" policy); Chen et al., "DeepLab", arXiv:1606.00915.
    """
    check_number("polynomial_decay", "power", power, above=0)
    check_number("polynomial_decay", "min_factor", min_factor, low=0, high=1)
    progress = _progress("polynomial_decay", step, total_steps, warmup_steps)
    return _between(min_factor, (1 - progress) ** power)


def _progress(owner: str, step: int, total_steps: int, warmup_steps: int) -> float:
    """How much of the decay is over: 0 before it begins, 1 at its end and after."""
    check_integer(owner, "step", step, low=0)
    check_integer(owner, "total_steps", total_steps, low=1)
    check_integer(owner, "warmup_steps", warmup_steps, low=0)
    if step < warmup_steps:
        return 0.0
    return (step - warmup_steps) / (total_steps - warmup_steps) if step < total_steps else 1.0


def _between(min_factor: float, share: float) -> float:
    return min_factor + (1 - min_factor) * share
