"""Cross-entropy under mixed and smoothed labels, and distillation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_tricks.functional.soft_nll import (
    Reduction,
    Spread,
    class_dim,
    compute_dtype,
    reduce_loss,
    result_dtype,
    soft_nll_loss,
)


def soft_cross_entropy(
    logits: Tensor,
    labels: Tensor | Sequence[Tensor],
    weights: Tensor | Sequence[Tensor],
    *,
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    spread: Spread = "all",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Computes the cross-entropy under K weighted labels for each sample.

    .. math:: \ell_n = \sum_k w_{kn} \, \mathrm{CE}(z_n, y_{kn}), \qquad
        \text{mean} = \sum_n \ell_n \Big/ \sum_n \sum_k w_{kn} \, c_{y_{kn}} [y_{kn} \ne \text{ignore}]

    where c are the class weights (1 if there are none). With one component of weight 1 these are the numbers of
    ``torch.nn.functional.cross_entropy``, also where nothing is left to average over (NaN).

    Args:
        logits: floating, (C,), (N, C) or (N, C, d1, …).
        labels: integers in [0, C) or ``ignore_index``: (K, *target shape), where the target shape is that of the
            logits without their class dimension, or a sequence of K such tensors.
        weights: floating, like ``labels``; for each position they sum to 1.
        class_weights: floating, (C,).
        ignore_index: a component with this label counts for nothing.
        label_smoothing: ε in [0, 1).
        spread: ``"all"`` spreads ε over all C classes, ε/C each, as PyTorch does; ``"others"`` over the C − 1 other
            ones, which needs C ≥ 2 and ε ≤ (C − 1)/C.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the target shape for ``"none"``. Computed in float32 where the logits have a lower precision;
        in the dtype that ``torch.nn.functional.cross_entropy`` returns: the logits', or float32 under autocast.

    Raises:
        TypeError: if logits are not floating.
        ValueError: if the shapes do not fit, or an argument is out of range.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> labels = torch.tensor([[0, 1], [1, 0]])
        >>> weights = torch.tensor([[0.75, 0.5], [0.25, 0.5]])
        >>> soft_cross_entropy(logits, labels, weights)
        tensor(0.7201)
    """
    loss = soft_nll_loss(
        logits,
        labels,
        weights,
        normalized=False,
        class_weights=class_weights,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        spread=spread,
        reduction=reduction,
    )
    return loss.to(result_dtype(logits))


def distillation_loss(
    logits: Tensor,
    teacher_logits: Tensor | Sequence[Tensor],
    *,
    temperature: float = 4.0,
    weight: float = 1.0,
    kl: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Computes the distance of the student from the teacher at a temperature.

    .. math:: w \, T^2 \, \ell\big(\mathrm{softmax}(r/T), \mathrm{softmax}(z/T)\big)

    with z the student's logits, r the teacher's and ℓ the cross-entropy of the second under the first. T² stays at
    any weight. With ``kl=True`` the teacher's entropy, which is constant, is left out: the gradient is the same, and
    the loss is zero where both agree.

    Args:
        logits: floating, (C,), (N, C) or (N, C, d1, …).
        teacher_logits: floating, of the same shape; of a sequence the probabilities are averaged.
        temperature: T > 0.
        weight: w ≥ 0.
        kl: whether to return the Kullback-Leibler divergence instead of the cross-entropy.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or for ``"none"`` the shape of the logits without their class dimension; computed in float32 where
        the logits have a lower precision, in the dtype of :func:`soft_cross_entropy`.

    Raises:
        TypeError: if logits are not floating.
        ValueError: if the student and the teacher disagree in shape, or an argument is out of range.

    Example:
        >>> import torch
        >>> z = torch.tensor([[1.0, 2.0, 3.0]])
        >>> distillation_loss(z, z, kl=True)
        tensor(0.)

    References:
        Hinton et al. 2015, arXiv 1503.02531; in the form of He et al. 2019, arXiv 1812.01187, who took T = 20.
    """
    teacher = teacher_log_probabilities(teacher_logits, temperature=temperature)
    loss = distillation_terms(logits, teacher, temperature=temperature, weight=weight, kl=kl)
    return reduce_loss(loss, torch.ones_like(loss), reduction).to(result_dtype(logits))


def teacher_log_probabilities(teacher_logits: Tensor | Sequence[Tensor], *, temperature: float) -> Tensor:
    """Computes log softmax(r / T), of several teachers the log of their mean probabilities, in float32 at least.

    Args:
        teacher_logits: floating, (C,), (N, C) or (N, C, d1, …), or a sequence of such tensors, one a teacher.
        temperature: T > 0.

    Returns:
        The log-probabilities, in the shape of the logits.

    Raises:
        TypeError: if logits are not floating.
        ValueError: if there is no teacher, the teachers disagree in shape, or the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"Expected `temperature` to be positive, but got {temperature}.")
    teachers = [teacher_logits] if isinstance(teacher_logits, Tensor) else list(teacher_logits)
    if not teachers or any(teacher.shape != teachers[0].shape for teacher in teachers):
        shapes = [tuple(teacher.shape) for teacher in teachers]
        raise ValueError(f"Expected the logits of one teacher or of several of equal shape, but got shapes {shapes}.")
    dtype, dim = compute_dtype(teachers[0]), class_dim(teachers[0])
    each = [torch.log_softmax(teacher.to(dtype) / temperature, dim) for teacher in teachers]
    return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - math.log(len(each))


def distillation_terms(logits: Tensor, teacher: Tensor, *, temperature: float, weight: float, kl: bool) -> Tensor:
    """Computes :func:`distillation_loss` for each sample from the teacher's log-probabilities, without a reduction.

    Args:
        logits: the student's, or its log-probabilities, of which the softmax is the same.
        teacher: what :func:`teacher_log_probabilities` returned at the same temperature.
        temperature: T > 0.
        weight: w ≥ 0.
        kl: whether to leave the teacher's entropy out.

    Returns:
        Floating, the shape of the logits without their class dimension, float32 at least.

    Raises:
        TypeError: if logits are not floating.
        ValueError: if the student and the teacher disagree in shape, or an argument is out of range.
    """
    dim = class_dim(logits)
    if logits.shape != teacher.shape:
        raise ValueError(
            f"Distillation needs a student and a teacher with logits of one shape, but got {tuple(logits.shape)} "
            f"({logits.shape[dim]} classes) and {tuple(teacher.shape)} ({teacher.shape[dim]} classes)."
        )
    if not temperature > 0:
        raise ValueError(f"Expected `temperature` to be positive, but got {temperature}.")
    if not weight >= 0:
        raise ValueError(f"Expected `weight` to be at least 0, but got {weight}.")
    student = torch.log_softmax(logits.to(compute_dtype(logits)) / temperature, dim)
    probabilities = teacher.exp()
    # the entropy is left out class by class, so that what agrees gives zero and not the difference of two roundings
    terms = probabilities * (teacher - student if kl else -student)
    # where the teacher is certain, 0 · ∞ of the student's is nothing
    return weight * temperature**2 * terms.masked_fill(probabilities == 0, 0).sum(dim)
