"""Accuracy under mixed labels."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_tricks.functional.checks import check_integer
from lightning_tricks.functional.losses import class_dim
from lightning_tricks.soft_target import SoftTarget
from lightning_tricks.soft_target.tensor import as_soft


class MixedAccuracy(Metric):
    r"""Averages the weight that the predicted class has in the target: Σ_k w_k · [argmax = label_k].

    For hard labels this is plain accuracy. Label smoothing and teachers that the target carries do not count.

    Args:
        num_classes: C, at least 1.
        ignore_index: a label that is left out of the average with its weight, as in ``F.cross_entropy``;
            probabilities have no such label.
        kwargs: the arguments of ``torchmetrics.Metric``.

    Raises:
        TypeError: ``num_classes`` or ``ignore_index`` is not an integer.
        ValueError: ``num_classes`` is below 1.

    Example:
        >>> import torch
        >>> from lightning_tricks import SoftTarget
        >>> y = SoftTarget.mix([torch.tensor([0]), torch.tensor([1])], [torch.tensor([0.75]), torch.tensor([0.25])])
        >>> MixedAccuracy(2)(torch.tensor([[2.0, 0.0]]), y)
        tensor(0.7500)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    correct: Tensor
    total: Tensor

    def __init__(self, num_classes: int, *, ignore_index: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = check_integer("MixedAccuracy", "num_classes", num_classes, low=1)
        if ignore_index is not None:
            check_integer("MixedAccuracy", "ignore_index", ignore_index, low=-sys.maxsize)
        self.ignore_index = ignore_index
        for name in ("correct", "total"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")  # Apple's devices have no float64

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Adds a batch.

        Args:
            preds: logits or probabilities, (N, C) or (N, C, d1, …).
            target: integer labels or a SoftTarget, (N,) or (N, d1, …), or probabilities like ``preds``.

        Raises:
            ValueError: the shapes do not match.
        """
        if preds.ndim < 2 or preds.shape[1] != self.num_classes:
            raise ValueError(
                f"MixedAccuracy needs preds to be of shape (N, {self.num_classes}, …), but got {tuple(preds.shape)}."
            )
        dim = class_dim(preds)
        predicted = preds.argmax(dim)
        shape = preds.shape if target.is_floating_point() else predicted.shape
        if target.shape != shape:
            raise ValueError(
                f"MixedAccuracy needs target to be of shape {tuple(shape)} for preds of shape {tuple(preds.shape)}, "
                f"but got {tuple(target.shape)}."
            )
        if target.is_floating_point() and not isinstance(target, SoftTarget):
            self.correct += target.gather(dim, predicted.unsqueeze(dim)).sum()
            self.total += predicted.numel()
            return
        for labels, weights in as_soft(target.long()).components:
            counted = weights if self.ignore_index is None else weights.masked_fill(labels == self.ignore_index, 0)
            self.correct += (counted * (labels == predicted)).sum()
            self.total += counted.sum()

    def compute(self) -> Tensor:
        """Returns the average over all counted positions, float32; NaN if there are none."""
        return self.correct / self.total
