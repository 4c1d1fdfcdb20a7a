"""Cross-entropy under mixed and smoothed labels, and distillation."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from lightning_tricks.functional.checks import check_choice, check_number

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Spread: TypeAlias = Literal["all", "others"]


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

    where c are the class weights (1 by default). With one component of weight 1 the result is that of
    ``torch.nn.functional.cross_entropy``, also where nothing is left to average over (NaN).

    Args:
        logits: floating, (C,), (N, C) or (N, C, d1, …).
        labels: integers in [0, C) or ``ignore_index``: (K, *target shape), where the target shape is that of the
            logits without their class dimension, or a sequence of K such tensors.
        weights: floating, like ``labels``; for each position they sum to 1.
        class_weights: floating, (C,).
        ignore_index: components with this label are left out.
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
        logits, labels, weights, class_weights, ignore_index, label_smoothing, spread, reduction, normalized=False
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


def soft_nll_loss(
    scores: Tensor,
    labels: Tensor | Sequence[Tensor],
    weights: Tensor | Sequence[Tensor],
    class_weights: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    spread: Spread,
    reduction: Reduction,
    *,
    normalized: bool,
) -> Tensor:
    """Computes :func:`soft_cross_entropy` in float32 at least; scores are log-probabilities if ``normalized``."""
    check_choice("The loss", "reduction", reduction, get_args(Reduction))
    dim = class_dim(scores)
    num_classes = scores.shape[dim]
    if class_weights is not None and class_weights.shape != (num_classes,):
        raise ValueError(
            f"The loss needs one class weight for each of {num_classes} classes, "
            f"but got shape {tuple(class_weights.shape)}."
        )
    epsilon = uniform_share(label_smoothing, spread, num_classes)
    scores = scores.to(compute_dtype(scores))
    labels, weights = _components(scores, labels, weights, dim)  # (K, *target shape)
    ignored = labels == ignore_index
    labels = labels.masked_fill(ignored, 0)
    weights = weights.masked_fill(ignored, 0)
    counted = weights if class_weights is None else weights * class_weights[labels]
    log_probabilities = scores if normalized else torch.log_softmax(scores, dim)
    # sign and divisor go to what needs no gradient: small batches feel every node of the graph
    divisor = -counted.sum() if reduction == "mean" else -1
    loss = log_probabilities.gather(dim, labels.transpose(0, dim)) * (counted / divisor).transpose(0, dim)
    if epsilon:
        if class_weights is not None:
            log_probabilities = log_probabilities * class_weights.view(-1, *[1] * (scores.ndim - dim - 1))
        uniform = log_probabilities.sum(dim) * (weights.sum(0) / divisor)
        loss = (1 - epsilon) * loss.sum(dim) + epsilon / num_classes * uniform
    elif reduction == "none":
        loss = loss.sum(dim)
    if reduction == "none":
        return loss
    if reduction == "mean" and loss.numel() == 0:
        return loss.sum() / 0  # the mean of nothing is NaN, as in torch
    return loss.sum()


def teacher_log_probabilities(teacher_logits: Tensor | Sequence[Tensor], *, temperature: float) -> Tensor:
    """Computes log softmax(r / T) in float32 at least; of several teachers the log of their mean probabilities."""
    check_number("Distillation", "temperature", temperature, above=0)
    teachers = [teacher_logits] if isinstance(teacher_logits, Tensor) else list(teacher_logits)
    if not teachers or any(teacher.shape != teachers[0].shape for teacher in teachers):
        shapes = [tuple(teacher.shape) for teacher in teachers]
        raise ValueError(f"Distillation needs teachers whose logits have one shape, but got shapes {shapes}.")
    dtype, dim = compute_dtype(teachers[0]), class_dim(teachers[0])
    each = [torch.log_softmax(teacher.to(dtype) / temperature, dim) for teacher in teachers]
    return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - math.log(len(each))


def distillation_terms(logits: Tensor, teacher: Tensor, *, temperature: float, weight: float, kl: bool) -> Tensor:
    """Computes :func:`distillation_loss` per sample, from the log-probabilities of the teacher at the temperature."""
    dim = class_dim(logits)
    if logits.shape != teacher.shape:
        raise ValueError(
            f"Distillation needs a student and a teacher with logits of one shape, but got {tuple(logits.shape)} "
            f"({logits.shape[dim]} classes) and {tuple(teacher.shape)} ({teacher.shape[dim]} classes)."
        )
    check_number("Distillation", "weight", weight, low=0)
    student = torch.log_softmax(logits.to(compute_dtype(logits)) / temperature, dim)
    probabilities = teacher.exp()
    # the entropy is left out class by class, so that what agrees gives zero and not the difference of two roundings
    terms = probabilities * (teacher - student if kl else -student)
    # where the teacher is certain, 0 · ∞ of the student's is nothing
    return weight * temperature**2 * terms.masked_fill(probabilities == 0, 0).sum(dim)


def reduce_loss(loss: Tensor, counted: Tensor, reduction: str) -> Tensor:
    """Reduces the losses; ``"mean"`` divides by the sum of ``counted``."""
    if check_choice("The loss", "reduction", reduction, get_args(Reduction)) == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / counted.sum()


def uniform_share(label_smoothing: float, spread: Spread, num_classes: int) -> float:
    """Returns the equivalent ε of ``spread="all"``: ε·C/(C − 1) for ``"others"``."""
    check_number("Label smoothing", "label_smoothing", label_smoothing, low=0, below=1)
    if check_choice("Label smoothing", "spread", spread, get_args(Spread)) == "all":
        return label_smoothing
    if num_classes < 2 or label_smoothing > (num_classes - 1) / num_classes:
        raise ValueError(
            'Label smoothing with spread="others" needs at least 2 classes and label_smoothing of at most '
            f"(classes − 1)/classes, but got {num_classes} classes and label_smoothing={label_smoothing}."
        )
    return label_smoothing * num_classes / (num_classes - 1)


def compute_dtype(scores: Tensor) -> torch.dtype:
    """Returns the dtype in which a loss of these scores is computed: theirs, float32 at least."""
    if not scores.is_floating_point():
        raise TypeError(f"The loss needs floating-point logits, but got {scores.dtype}.")
    return torch.promote_types(scores.dtype, torch.float32)


def result_dtype(scores: Tensor) -> torch.dtype:
    """Returns the dtype of a loss of these scores: theirs, but float32 at least under autocast, as PyTorch's own."""
    device = scores.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return compute_dtype(scores)
    return scores.dtype


def class_dim(scores: Tensor) -> int:
    """Returns where the classes are: 0 for one sample, 1 for a batch."""
    if scores.ndim == 0:
        raise ValueError("The loss needs logits with a class dimension, but got a scalar.")
    return 0 if scores.ndim == 1 else 1


def _components(
    scores: Tensor, labels: Tensor | Sequence[Tensor], weights: Tensor | Sequence[Tensor], dim: int
) -> tuple[Tensor, Tensor]:
    """Returns labels and weights stacked, checked and in the dtypes that the kernel needs."""
    labels = labels if isinstance(labels, Tensor) else torch.stack(list(labels))
    weights = weights if isinstance(weights, Tensor) else torch.stack(list(weights))
    shape = scores.shape[:dim] + scores.shape[dim + 1 :]
    if labels.ndim == 0 or labels.shape[1:] != shape or weights.shape != labels.shape:
        raise ValueError(
            f"The loss needs labels and weights of shape (K, {', '.join(map(str, shape))}) for logits of shape "
            f"{tuple(scores.shape)}, but got {tuple(labels.shape)} and {tuple(weights.shape)}."
        )
    return labels.long(), weights.to(scores.dtype)
