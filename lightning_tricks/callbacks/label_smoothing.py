"""Label smoothing as a callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.batch_trick import BatchOptions, BatchParams, BatchTrick
from lightning_tricks.engine.fields import describe, set_at
from lightning_tricks.functional.checks import check_choice, check_number
from lightning_tricks.functional.losses import Spread, uniform_share
from lightning_tricks.soft_target import SoftTarget
from lightning_tricks.soft_target.tensor import is_class_index


class LabelSmoothing(BatchTrick):
    """Smooths the labels of every training batch; the module's ``F.cross_entropy`` stays as it is.

    The labels become a :class:`~lightning_tricks.SoftTarget` that carries ε, so no number of classes is needed. With
    ``spread="all"`` the loss is that of ``F.cross_entropy(..., label_smoothing=ε)``; see
    :func:`lightning_tricks.functional.soft_cross_entropy`. Smoothing and mixing commute, so the place in the list of
    callbacks does not matter. Of several targets in a mapping, list or tuple the integer ones are smoothed. Floating
    targets are smoothed if they are probabilities (N, C), as a mixing trick with ``labels="dense"`` makes them.

    Args:
        label_smoothing: ε in [0, 1).
        spread: ``"all"``: ε is spread over all classes; ``"others"``: over the classes that are not the label.
        shared: the keywords of :class:`~lightning_tricks.BatchTrick`: ``p``, ``start_epoch``, ...

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

    def __init__(self, label_smoothing: float = 0.1, *, spread: Spread = "all", **shared: Unpack[BatchOptions]) -> None:
        super().__init__(**shared)
        self.label_smoothing = check_number(self.name, "label_smoothing", label_smoothing, low=0.0, below=1.0)
        check_choice(self.name, "spread", spread, get_args(Spread))
        self.spread: Spread = spread

    def draw(self, rng: np.random.Generator, images: Tensor) -> BatchParams:
        """Draws `active`."""
        return BatchParams(active=bool(rng.random() < self.p))

    def check_images(self, images: Tensor) -> None:
        """Accepts inputs of any shape."""

    def check_target(self, target: Any) -> None:
        """Raises for a target without class labels."""
        super().check_target(target)
        if not _contains(target, _kind_of_labels(target)):
            epsilon = self.label_smoothing
            way = f" Smooth binary and multi-hot labels in training_step: y * {1 - epsilon:g} + {epsilon / 2:g}."
            raise TypeError(
                f"{self.name} needs class labels (integers), or probabilities of shape (N, C), but got "
                f"{describe(target)}.{way if _has_floats(target) else ''}"
            )

    def apply(self, params: Any, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Smooths the labels; if inactive, they only take the form of other batches."""
        return images, self._smooth(target, _kind_of_labels(target), active=params.active)

    def _smooth(self, target: Any, is_label: Callable[[Any], bool], *, active: bool) -> Any:
        """Returns the target with its labels smoothed."""
        if isinstance(target, (Mapping, list, tuple)):
            entries = target.items() if isinstance(target, Mapping) else enumerate(target)
            for key, entry in [(key, entry) for key, entry in entries if _contains(entry, is_label)]:
                target = set_at(target, (key,), self._smooth(entry, is_label, active=active))
            return target
        if is_label is not is_class_index:
            epsilon = uniform_share(self.label_smoothing, self.spread, target.shape[1])
            return (1 - epsilon) * target + epsilon / target.shape[1] if active else target
        always = self.p == 1 and self.start_epoch == 0 and self.stop_epoch is None
        known = None if active and always else active
        return SoftTarget.smooth(target, self.label_smoothing, spread=self.spread, active=known)


def _kind_of_labels(target: Any) -> Callable[[Any], bool]:
    """Returns which entries are labels: class indices, or where there are none, probabilities."""
    return is_class_index if _contains(target, is_class_index) else _is_probabilities


def _contains(target: Any, is_label: Callable[[Any], bool]) -> bool:
    """Whether the target is a label or contains one."""
    if isinstance(target, (Mapping, list, tuple)):
        return any(_contains(entry, is_label) for entry in (target.values() if isinstance(target, Mapping) else target))
    return is_label(target)


def _has_floats(target: Any) -> bool:
    """Whether the target is or contains floating-point numbers."""
    return _contains(target, lambda entry: isinstance(entry, Tensor) and entry.is_floating_point())


def _is_probabilities(target: Any) -> bool:
    """Whether this is a floating-point tensor (N, C, …) with at least 2 classes whose probabilities sum to 1."""
    if not isinstance(target, Tensor) or isinstance(target, SoftTarget) or not target.is_floating_point():
        return False
    if target.ndim < 2 or target.shape[1] < 2 or target.numel() == 0:
        return False
    sums = target.sum(1, dtype=torch.float32)
    return bool((target >= 0).all() & ((sums - 1).abs() < _TOLERANCE).all())


_TOLERANCE = 0.02  # wide enough for probabilities in bfloat16
