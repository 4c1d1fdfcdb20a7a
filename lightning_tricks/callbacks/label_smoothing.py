"""Label smoothing as a callback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from torch import Tensor

from lightning_tricks.callbacks.batch_trick import BatchParams, BatchTrick
from lightning_tricks.engine.fields import describe, set_at
from lightning_tricks.functional.checks import check_choice, check_number
from lightning_tricks.functional.losses import Spread
from lightning_tricks.soft_target import SoftTarget
from lightning_tricks.soft_target.tensor import is_class_index


class LabelSmoothing(BatchTrick):
    """Smooths the labels of every training batch; the module's ``F.cross_entropy`` stays as it is.

    The labels become a :class:`~lightning_tricks.SoftTarget` that carries ε, so no number of classes is needed. With
    ``spread="all"`` the loss is that of ``F.cross_entropy(..., label_smoothing=ε)``; see
    :func:`lightning_tricks.functional.soft_cross_entropy`. Smoothing and mixing commute, so the place in the list of
    callbacks does not matter. Of several targets in a mapping, list or tuple the integer ones are smoothed.

    Args:
        label_smoothing: ε in [0, 1).
        spread: ``"all"``: ε is spread over all classes; ``"others"``: over the classes that are not the label.
        shared: ``p``, ``start_epoch``, ``stop_epoch``, ``input_key``, ``target_key``, ``ignore_keys`` and ``seed`` of
            :class:`~lightning_tricks.BatchTrick`.

    Raises:
        TypeError: an argument has the wrong type; at the first batch, no target is a tensor of class indices.
        ValueError: an argument is out of its range.
        SoftTargetError: at the first batch, the labels are smoothed already, or the criterion smooths too.

    Example:
        >>> import torch
        >>> images, labels = LabelSmoothing(0.1)((torch.ones(2, 3, 8, 6), torch.tensor([0, 1])))
        >>> labels.probabilities(2)
        tensor([[0.9500, 0.0500],
                [0.0500, 0.9500]])

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567.
    """

    def __init__(self, label_smoothing: float = 0.1, *, spread: Spread = "all", **shared: Any) -> None:
        super().__init__(**shared)
        self.label_smoothing = check_number(self.name, "label_smoothing", label_smoothing, low=0.0, below=1.0)
        check_choice(self.name, "spread", spread, get_args(Spread))
        self.spread: Spread = spread

    def draw(self, rng: np.random.Generator, images: Tensor) -> BatchParams:
        """Draws whether."""
        return BatchParams(active=bool(rng.random() < self.p))

    def check_images(self, images: Tensor) -> None:
        """Takes inputs of any shape: only the target is touched."""

    def check_target(self, target: Any) -> None:
        """Needs class labels."""
        super().check_target(target)
        if not _has_class_labels(target):
            raise TypeError(f"{self.name} needs class labels (integers), but got {describe(target)}")

    def apply(self, params: Any, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Smooths the labels."""
        return images, self._smooth(target, self.label_smoothing if params.active else 0.0)

    def _smooth(self, target: Any, label_smoothing: float) -> Any:
        """Returns the target with its class indices smoothed."""
        if isinstance(target, (Mapping, list, tuple)):
            entries = target.items() if isinstance(target, Mapping) else enumerate(target)
            for key, entry in [(key, entry) for key, entry in entries if _has_class_labels(entry)]:
                target = set_at(target, (key,), self._smooth(entry, label_smoothing))
            return target
        return SoftTarget.smooth(target, label_smoothing, spread=self.spread)


def _has_class_labels(target: Any) -> bool:
    if isinstance(target, (Mapping, list, tuple)):
        return any(map(_has_class_labels, target.values() if isinstance(target, Mapping) else target))
    return is_class_index(target)
