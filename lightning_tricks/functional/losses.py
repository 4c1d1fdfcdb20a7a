"""Cross-entropy under mixed and smoothed labels, and distillation: one ``log_softmax``, no dense label matrix."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
Spread = Literal["all", "others"]


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
    ``torch.nn.functional.cross_entropy``, also where nothing is left to average over (NaN). A component of weight 0
    counts for nothing, even where its logit is infinite.

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
        ValueError: if the shapes do not fit, or an argument is out of range.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> labels = torch.tensor([[0, 1], [1, 0]])
        >>> weights = torch.tensor([[0.75, 0.5], [0.25, 0.5]])
        >>> soft_cross_entropy(logits, labels, weights)
        tensor(0.7201)
    """
    log_probabilities = torch.log_softmax(logits, _class_dim(logits), dtype=compute_dtype(logits))
    loss = soft_nll_loss(
        log_probabilities,
        labels,
        weights,
        class_weights=class_weights,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        spread=spread,
        reduction=reduction,
    )
    return loss.to(result_dtype(logits))


def soft_nll_loss(
    log_probabilities: Tensor,
    labels: Tensor | Sequence[Tensor],
    weights: Tensor | Sequence[Tensor],
    *,
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    spread: Spread = "all",
    reduction: Reduction = "mean",
) -> Tensor:
    """Computes the negative log-likelihood under K weighted labels: :func:`soft_cross_entropy` after its log_softmax.

    Args:
        log_probabilities: floating, (C,), (N, C) or (N, C, d1, …).
        labels: as in :func:`soft_cross_entropy`.
        weights: as in :func:`soft_cross_entropy`.
        class_weights: as in :func:`soft_cross_entropy`.
        ignore_index: as in :func:`soft_cross_entropy`.
        label_smoothing: as in :func:`soft_cross_entropy`.
        spread: as in :func:`soft_cross_entropy`.
        reduction: as in :func:`soft_cross_entropy`.

    Returns:
        A scalar, or the target shape for ``"none"``, in the dtype of the log-probabilities, float32 at least.

    Raises:
        ValueError: if the shapes do not fit, or an argument is out of range.
    """
    log_probabilities = log_probabilities.to(compute_dtype(log_probabilities))
    dim = _class_dim(log_probabilities)
    num_classes = log_probabilities.shape[dim]
    epsilon = uniform_share(label_smoothing, spread, num_classes)
    labels, weights = _components(log_probabilities, labels, weights)
    labels, weights = labels.movedim(0, dim), weights.movedim(0, dim)

    ignored = labels == ignore_index
    labels = labels.masked_fill(ignored, 0)
    weights = weights.masked_fill(ignored, 0)
    nll = -log_probabilities.gather(dim, labels).masked_fill(weights == 0, 0)  # 0 · ∞ would be NaN
    counted = weights if class_weights is None else weights * class_weights[labels]
    loss = (nll * counted).sum(dim)
    if epsilon:
        uniform = log_probabilities
        if class_weights is not None:
            uniform = uniform * class_weights.view(-1, *[1] * (log_probabilities.ndim - dim - 1))
        total = weights.sum(dim)
        uniform = -uniform.sum(dim).masked_fill(total == 0, 0) * total
        loss = (1 - epsilon) * loss + epsilon / num_classes * uniform
    return reduce_loss(loss, counted, reduction)


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
        ValueError: if the student and the teacher disagree in shape, or an argument is out of range.

    Example:
        >>> z = torch.tensor([[1.0, 2.0, 3.0]])
        >>> distillation_loss(z, z, kl=True)
        tensor(0.)

    References:
        Hinton et al. 2015, arXiv 1503.02531; in the form of He et al. 2019, arXiv 1812.01187, who took T = 20.
    """
    probabilities = teacher_probabilities(teacher_logits, temperature=temperature)
    loss = distillation_terms(logits, probabilities, temperature=temperature, weight=weight, kl=kl)
    return reduce_loss(loss, torch.ones_like(loss), reduction).to(result_dtype(logits))


def teacher_probabilities(teacher_logits: Tensor | Sequence[Tensor], *, temperature: float) -> Tensor:
    """Computes softmax(r / T), averaged over the teachers, in float32 at least.

    Args:
        teacher_logits: floating, (C,), (N, C) or (N, C, d1, …), or a sequence of such tensors, one a teacher.
        temperature: T > 0.

    Returns:
        The probabilities, in the shape of the logits.

    Raises:
        ValueError: if there is no teacher, the teachers disagree in shape, or the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"Expected `temperature` to be positive, but got {temperature}.")
    teachers = [teacher_logits] if isinstance(teacher_logits, Tensor) else list(teacher_logits)
    if not teachers or any(teacher.shape != teachers[0].shape for teacher in teachers):
        shapes = [tuple(teacher.shape) for teacher in teachers]
        raise ValueError(f"Expected the logits of one teacher or of several of equal shape, but got shapes {shapes}.")
    dtype, dim = compute_dtype(teachers[0]), _class_dim(teachers[0])
    mean = torch.stack([torch.softmax(teacher.to(dtype) / temperature, dim) for teacher in teachers]).mean(0)
    return mean if len(teachers) > 1 else torch.softmax(teachers[0].to(dtype) / temperature, dim)


def distillation_terms(logits: Tensor, probabilities: Tensor, *, temperature: float, weight: float, kl: bool) -> Tensor:
    """Computes :func:`distillation_loss` for each sample from the teacher's probabilities, without a reduction.

    Args:
        logits: the student's, or its log-probabilities, of which the softmax is the same.
        probabilities: what :func:`teacher_probabilities` returned at the same temperature.
        temperature: T > 0.
        weight: w ≥ 0.
        kl: whether to leave the teacher's entropy out.

    Returns:
        Floating, the shape of the logits without their class dimension, float32 at least.

    Raises:
        ValueError: if the student and the teacher disagree in shape, or an argument is out of range.
    """
    if logits.shape != probabilities.shape:
        dim = _class_dim(logits)
        raise ValueError(
            f"Expected a student and a teacher with logits of one shape, but got {tuple(logits.shape)} "
            f"({logits.shape[dim]} classes) and {tuple(probabilities.shape)} ({probabilities.shape[dim]} classes)."
        )
    if not temperature > 0:
        raise ValueError(f"Expected `temperature` to be positive, but got {temperature}.")
    if not weight >= 0:
        raise ValueError(f"Expected `weight` to be at least 0, but got {weight}.")
    dim = _class_dim(logits)
    log_student = torch.log_softmax(logits.to(compute_dtype(logits)) / temperature, dim)
    # where the teacher is certain, 0 · (−∞) of the student's is nothing
    terms = -(probabilities * log_student).masked_fill(probabilities == 0, 0).sum(dim)
    if kl:
        terms = terms + torch.xlogy(probabilities, probabilities).sum(dim)
    return weight * temperature**2 * terms


def reduce_loss(loss: Tensor, counted: Tensor, reduction: str) -> Tensor:
    """Reduces the losses; ``"mean"`` divides by the sum of ``counted``."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.sum() / counted.sum()
    raise ValueError(f'Expected `reduction` to be "mean", "sum" or "none", but got {reduction!r}.')


def uniform_share(label_smoothing: float, spread: str, num_classes: int) -> float:
    """Returns the ε of ``spread="all"`` that says the same: ε·C/(C − 1) for ``"others"``."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"Expected `label_smoothing` to be in [0, 1), but got {label_smoothing}.")
    if spread == "all":
        return label_smoothing
    if spread != "others":
        raise ValueError(f'Expected `spread` to be "all" or "others", but got {spread!r}.')
    if num_classes < 2 or label_smoothing > (num_classes - 1) / num_classes:
        raise ValueError(
            'Expected at least 2 classes and `label_smoothing` of at most (classes − 1)/classes for spread="others", '
            f"but got {num_classes} classes and {label_smoothing}."
        )
    return label_smoothing * num_classes / (num_classes - 1)


def compute_dtype(logits: Tensor) -> torch.dtype:
    """Returns the dtype in which a loss of these logits is computed: theirs, float32 at least."""
    return torch.promote_types(logits.dtype, torch.float32)


def result_dtype(logits: Tensor) -> torch.dtype:
    """Returns the dtype of a loss of these logits: theirs, but float32 at least under autocast, as PyTorch's own."""
    device = logits.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return compute_dtype(logits)
    return logits.dtype


def _class_dim(logits: Tensor) -> int:
    if logits.ndim == 0:
        raise ValueError("Expected logits with a class dimension, but got a scalar.")
    return 0 if logits.ndim == 1 else 1


def _components(
    logits: Tensor, labels: Tensor | Sequence[Tensor], weights: Tensor | Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    labels = labels if isinstance(labels, Tensor) else torch.stack(list(labels))
    weights = weights if isinstance(weights, Tensor) else torch.stack(list(weights))
    dim = _class_dim(logits)
    shape = logits.shape[:dim] + logits.shape[dim + 1 :]
    if labels.ndim == 0 or labels.shape[1:] != shape or weights.shape != labels.shape:
        raise ValueError(
            f"Expected labels and weights of shape (K, {', '.join(map(str, shape))}) for logits of shape "
            f"{tuple(logits.shape)}, but got {tuple(labels.shape)} and {tuple(weights.shape)}."
        )
    return labels.long(), weights.to(logits.dtype)
