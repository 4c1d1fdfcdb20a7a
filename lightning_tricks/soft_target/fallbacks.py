"""Fallbacks for losses without soft labels: plain probabilities, or one label at a time."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_tricks.soft_target.state import BEFORE_CAST, refusal
from lightning_tricks.soft_target.tensor import SoftTarget, as_soft


def hard_labels(y: Tensor) -> Tensor:
    """Returns plain labels, for metrics and whatever else counts or compares.

    Args:
        y: a SoftTarget or any other tensor.

    Returns:
        The dominant labels of a SoftTarget: of each position the label with the largest weight. Another tensor is
        returned as it is, so that one line serves training, validation and runs without tricks.

    Example:
        >>> import torch
        >>> from lightning_tricks import SoftTarget
        >>> y = SoftTarget.mix([torch.tensor([0]), torch.tensor([1])], [torch.tensor([0.75]), torch.tensor([0.25])])
        >>> hard_labels(y), hard_labels(torch.tensor([2]))
        (tensor([0]), tensor([2]))
    """
    return y.hard if isinstance(y, SoftTarget) else y


def soft_labels(y: Tensor, num_classes: int) -> Tensor:
    """Turns labels into plain probabilities, for losses that take those.

    Args:
        y: a SoftTarget, or integer labels in [0, num_classes), of shape (), (N,) or (N, d1, …).
        num_classes: C, at least 1.

    Returns:
        Plain float32 probabilities, smoothing included: (C,), (N, C) or (N, C, d1, …).

    Raises:
        TypeError: if ``y`` is not integer.
        ValueError: if ``num_classes`` is below 1 or, on the CPU and not compiled, a label is out of its range.
        SoftTargetError: if ``y`` is a SoftTarget that was cast to floating point or carries a teacher, whose loss no
            probabilities of the labels contain.

    Example:
        >>> import torch
        >>> soft_labels(torch.tensor([1, 0]), 3)
        tensor([[0., 1., 0.],
                [1., 0., 0.]])
    """
    if num_classes < 1:
        raise ValueError(f"soft_labels needs num_classes to be at least 1, but got {num_classes}.")
    target = as_soft(y)
    if target.teachers:
        raise refusal(target, "soft_labels", "would leave out the teacher's loss")
    check_range("soft_labels", target, num_classes)
    return target.probabilities(num_classes)


def check_range(owner: str, target: SoftTarget, num_classes: int) -> None:
    """Raises for labels that are no class, on the CPU: elsewhere it would read them back, or break a compiled graph."""
    labels = target._labels
    if not labels.is_cpu or labels.numel() == 0 or target.is_floating_point() or torch.compiler.is_compiling():
        return
    least, greatest = (int(end) for end in labels.aminmax())
    if least < 0 or greatest >= num_classes:
        raise ValueError(
            f"{owner} needs labels in 0..{num_classes - 1} for num_classes={num_classes}, but got some from {least} to "
            f"{greatest}."
        )


def mixed_loss(criterion: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> Tensor:
    """Applies a criterion to each of the labels and weighs the results: Σ_k w_k · criterion(logits, labels_k).

    A criterion that returns one loss for each position of the target is called K times. One that returns a scalar
    is called for each sample apart, since the samples have weights of their own; whether it is the mean or the sum
    over the samples is found out by calling it on the batch too, and a criterion that is neither is refused. That
    reads a number back from the device: ``reduction="none"`` is faster. A plain target goes to the criterion as it is.

    Args:
        criterion: called with logits and plain integer labels.
        logits: (N, C) or (N, C, d1, …): what the criterion takes.
        target: integer labels or a SoftTarget, (N,) or (N, d1, …).

    Returns:
        What the criterion returns, in shape and reduction: the losses of the positions, or their mean or sum.

    Raises:
        SoftTargetError: if the labels carry label smoothing or a teacher, or were cast to floating point.
        ValueError: if the criterion returns neither one loss per position nor the mean or sum over the samples.

    Example:
        >>> import torch
        >>> from lightning_tricks import SoftTarget
        >>> y = SoftTarget.mix([torch.tensor([0]), torch.tensor([1])], [torch.tensor([0.75]), torch.tensor([0.25])])
        >>> mixed_loss(torch.nn.MultiMarginLoss(), torch.tensor([[2.0, 0.0]]), y)
        tensor(0.3750)
    """
    if not isinstance(target, SoftTarget) or _is_exact(criterion):
        return criterion(logits, target)
    if target.label_smoothing or target.teachers:
        raise refusal(target, "mixed_loss", "takes cross-entropy alone")
    if target.is_floating_point():
        raise refusal(target, "mixed_loss", f"needs integer labels, but got {target.dtype}", BEFORE_CAST)
    losses = [criterion(logits, labels) for labels, _ in target.components]
    if losses[0].shape == target.shape:
        return _weighted(losses, target)
    if losses[0].ndim > 0 or target.ndim != 1:
        raise ValueError(
            f"mixed_loss needs a criterion that returns one loss for each position of the target, "
            f"{tuple(target.shape)}, or, for targets of shape (N,), a scalar, but got {tuple(losses[0].shape)}."
        )
    parts = [
        torch.stack([criterion(logits[i : i + 1], labels[i : i + 1]) for i in range(len(labels))])
        for labels, _ in target.components
    ]
    whole, single = torch.stack(losses).detach(), torch.stack(parts).detach()
    mixed = _weighted(parts, target)
    if torch.allclose(whole, single.mean(1), rtol=_RTOL):
        return mixed.mean()
    if torch.allclose(whole, single.sum(1), rtol=_RTOL):
        return mixed.sum()
    raise ValueError(
        "mixed_loss needs a criterion that is the mean or the sum over the samples of the batch, or returns one loss "
        f"for each of them, but it gave {whole[0]:.6g} on the batch and {single[0].mean():.6g} as its samples' mean."
    )


_RTOL = 1e-2  # wide enough for bfloat16; a mean and a sum differ by a factor of two at least


def _is_exact(criterion: Callable[[Tensor, Tensor], Tensor]) -> bool:
    return criterion in (F.cross_entropy, F.nll_loss) or type(criterion) in (nn.CrossEntropyLoss, nn.NLLLoss)


def _weighted(losses: list[Tensor], target: SoftTarget) -> Tensor:
    """Returns Σ_k w_k · losses_k."""
    return torch.stack([loss * weights for loss, (_, weights) in zip(losses, target.components, strict=True)]).sum(0)
