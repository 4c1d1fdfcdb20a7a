"""The one kernel under every loss of soft class labels: K picks from the log-probabilities, no dense label matrix."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
Spread = Literal["all", "others"]


def soft_nll_loss(
    scores: Tensor,
    labels: Tensor | Sequence[Tensor],
    weights: Tensor | Sequence[Tensor],
    *,
    normalized: bool = True,
    class_weights: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    spread: Spread = "all",
    reduction: Reduction = "mean",
) -> Tensor:
    """Computes the negative log-likelihood under K weighted labels.

    Args:
        scores: floating, (C,), (N, C) or (N, C, d1, …): log-probabilities, or logits if not ``normalized``.
        labels: as in :func:`lightning_tricks.functional.losses.soft_cross_entropy`, and so are all that follow.
        weights: floating, like ``labels``.
        normalized: whether the scores are log-probabilities.
        class_weights: floating, (C,).
        ignore_index: a component with this label counts for nothing.
        label_smoothing: ε in [0, 1).
        spread: ``"all"`` or ``"others"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the target shape for ``"none"``, in the dtype of the scores, float32 at least.

    Raises:
        TypeError: if the scores are not floating.
        ValueError: if the shapes do not fit, or an argument is out of range.
    """
    check_reduction(reduction)
    dim = class_dim(scores)
    num_classes = scores.shape[dim]
    if class_weights is not None and class_weights.shape != (num_classes,):
        raise ValueError(
            f"Expected one class weight for each of {num_classes} classes, but got shape {tuple(class_weights.shape)}."
        )
    epsilon = uniform_share(label_smoothing, spread, num_classes)
    if scores.dtype != compute_dtype(scores):
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


def reduce_loss(loss: Tensor, counted: Tensor, reduction: str) -> Tensor:
    """Reduces the losses; ``"mean"`` divides by the sum of ``counted``."""
    check_reduction(reduction)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / counted.sum()


def check_reduction(reduction: str) -> None:
    """Raises for what is no reduction."""
    if reduction not in ("mean", "sum", "none"):
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
            'Label smoothing with spread="others" needs at least 2 classes and label_smoothing of at most '
            f"(classes − 1)/classes, but got {num_classes} classes and label_smoothing={label_smoothing}."
        )
    return label_smoothing * num_classes / (num_classes - 1)


def compute_dtype(scores: Tensor) -> torch.dtype:
    """Returns the dtype in which a loss of these scores is computed: theirs, float32 at least."""
    if not scores.is_floating_point():
        raise TypeError(f"Expected floating logits, but got {scores.dtype}.")
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
        raise ValueError("Expected logits with a class dimension, but got a scalar.")
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
            f"Expected labels and weights of shape (K, {', '.join(map(str, shape))}) for logits of shape "
            f"{tuple(scores.shape)}, but got {tuple(labels.shape)} and {tuple(weights.shape)}."
        )
    if labels.dtype != torch.int64:
        labels = labels.long()
    return labels, weights if weights.dtype == scores.dtype else weights.to(scores.dtype)
