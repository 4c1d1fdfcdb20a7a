"""What becomes of each kind of target when the samples of a batch are mixed, at whatever resolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, TVTensor, wrap

from lightning_tricks.engine.fields import describe, is_detection, set_at
from lightning_tricks.soft_target import SoftTarget
from lightning_tricks.soft_target.fallbacks import check_range


def stride_of(target: Tensor, *, size: tuple[int, int], name: str) -> tuple[int, int] | None:
    """Returns the image pixels per target pixel, down and across; ``None`` for a target without height and width.

    Args:
        target: one tensor (N, ...); with three dimensions or more, the last two are its height and width.
        size: ``(H, W)`` of the images.
        name: the trick that asks.

    Raises:
        ValueError: the target's size does not divide the images', or the target looks like patches in a row or
            like masks with the channels last.
    """
    shape, own = tuple(target.shape), tuple(target.shape[-2:])
    if target.ndim < 3:
        if target.ndim == 2 and not target.is_floating_point() and shape[1] in _patch_counts(size):
            raise ValueError(
                f"{name} needs labels of patches as (N, height, width), but got {describe(target)} for images of size "
                f"{size}; reshape them, or give the labels of several tasks as several targets of shape (N,)"
            )
        return None
    if own == (1, 1):
        return None
    divides = 0 not in own and size[0] % own[0] == 0 and size[1] % own[1] == 0
    if divides and not (target.ndim > 3 and shape[1:3] == size != own):
        down, across = size[0] // own[0], size[1] // own[1]
        if down == across or (target.ndim == 3 and not target.is_floating_point()):
            return down, across
    raise ValueError(
        f"{name} needs targets with a height and width (N, ..., height, width) of the images' size {size} or a whole "
        f"fraction of it, but got {describe(target)}; resize them in the data set, or name them in ignore_keys"
    )


def scaled_edge(edge: Any, stride: Any) -> Any:
    """The first coarse pixel whose middle lies at or after ``edge``, which is counted in image pixels."""
    edge, stride = np.asarray(edge), np.asarray(stride)
    return -((stride - 2 * edge) // (2 * stride))


def _patch_counts(size: tuple[int, int]) -> set[int]:
    """In how many square patches, more than one and of more than one pixel, the image can be divided."""
    height, width = size
    sides = (side for side in range(2, min(size) + 1) if height % side == width % side == 0)
    return {height // side * (width // side) for side in sides} - {1}


class TargetMixer:
    """Mixes targets as one batch of images is mixed.

    Args:
        owner: the name of the trick that mixes.
        params: what it has drawn: ``shifts``, ``weights``, ``picks`` and ``components``, and ``scaled(stride)``.
        images: the images before they are mixed; only their shape matters.
        mixing: whether they are mixed, or the target only takes the form that it has in mixed batches.
        cuts: whether each pixel of the result comes from one image.
        labels: what class indices become: ``"soft"``, ``"sample"`` or ``"dense"``.
        num_classes: number of classes, for ``labels="dense"``.
        mix_mask: mixes a mask, given ``params`` and the mask.
    """

    def __init__(
        self,
        owner: str,
        params: Any,
        images: Tensor,
        *,
        mixing: bool,
        cuts: bool,
        labels: str,
        num_classes: int | None,
        mix_mask: Callable[[Any, Tensor], Tensor],
    ) -> None:
        self.owner, self.params, self.mixing, self.cuts = owner, params, mixing, cuts
        self.labels, self.num_classes, self.mix_mask = labels, num_classes, mix_mask
        self.n = len(images)
        self.size = (images.shape[-2], images.shape[-1]) if images.ndim >= 4 else None
        count = max(len(params.shifts), params.components)
        drawn = len(params.shifts) if mixing else 0
        self.shifts = [*params.shifts[:drawn], *[0] * (count - drawn)]
        self.weights = np.zeros((self.n, count), np.float32)
        for k, weight in enumerate(params.weights if mixing else [1.0]):
            self.weights[:, k] = weight

    def __call__(self, target: Any) -> Any:
        """Returns what becomes of the target; entries of a mapping, list or tuple are each mixed."""
        if is_detection(target):
            raise TypeError(
                f"{self.owner} needs a detection target to be its one target, but got it among others: "
                f"{describe(target)}"
            )
        if isinstance(target, (list, tuple)) and len(target) == self.n and all(map(self._is_of_one_image, target)):
            raise TypeError(f"{self.owner} needs masks as one tensor, but got {describe(target)}; stack them")
        if isinstance(target, (Mapping, list, tuple)):
            entries = target.items() if isinstance(target, Mapping) else enumerate(target)
            for key, entry in [(key, self(entry)) for key, entry in entries]:
                target = set_at(target, (key,), entry)
            return target
        if not isinstance(target, Tensor) or target.layout != torch.strided:
            raise TypeError(f"{self.owner} needs targets that are tensors, but got {describe(target)}")
        if target.ndim == 0 or len(target) != self.n:
            raise ValueError(
                f"{self.owner} needs one target for each of its {self.n} images, but got {describe(target)}"
            )
        if isinstance(target, BoundingBoxes) and self.cuts:
            raise TypeError(
                f"{self.owner} needs boxes in detection targets, one dictionary per image, but got "
                f"{describe(target)} in one BoundingBoxes, whose average is no box of the mixed image"
            )
        if isinstance(target, TVTensor):
            mixed = self._mix(target.as_subclass(Tensor))
            return mixed if isinstance(mixed, SoftTarget) else wrap(mixed, like=target)
        return self._mix(target)

    def _is_of_one_image(self, entry: Any) -> bool:
        """Whether this is the mask of one image, where a list holds one per image."""
        return isinstance(entry, Tensor) and entry.ndim == 2 and tuple(entry.shape) == self.size

    def _mix(self, target: Tensor) -> Tensor:
        stride = self._stride(target)
        if stride is not None:
            cut = self._cut_mask(target, stride) if self.mixing else target
            return self._in_form(cut) if isinstance(cut, SoftTarget) else cut
        if target.dtype == torch.bool or target.is_complex():
            raise TypeError(
                f"{self.owner} needs integer class labels or floating-point targets, but got {describe(target)}; "
                "multi-hot labels are mixed as floating-point numbers: .float() them in the data set"
            )
        if isinstance(target, SoftTarget) or not target.is_floating_point():
            return self._in_form(self._soft_labels(target))
        if not self.mixing:
            return target
        return self._picked(target) if self.labels == "sample" else self._weighted_sum(target)

    def _stride(self, target: Tensor) -> tuple[int, int] | None:
        """Image pixels per pixel of a target that is mixed as the images are; ``None`` for other targets."""
        if self.size is None:
            return None
        if self.cuts:
            return stride_of(target, size=self.size, name=self.owner)
        is_mask = target.ndim >= 3 and target.shape[-2:] == self.size and target.is_floating_point()
        return (1, 1) if is_mask else None

    def _partners(self, target: Tensor) -> list[Tensor]:
        return [target.roll(-shift, 0) if shift else target for shift in self.shifts]

    def _weights_beside(self, target: Tensor) -> Tensor:
        return torch.from_numpy(self.weights.T).to(target.device, non_blocking=True)

    def _soft_labels(self, target: Tensor) -> SoftTarget:
        partners, weights = self._partners(target), self._weights_beside(target)
        return SoftTarget.mix(partners, weights.unbind())

    def _weighted_sum(self, target: Tensor) -> Tensor:
        total = torch.zeros_like(target, dtype=torch.promote_types(target.dtype, torch.float32))
        for weight, partner in zip(self._weights_beside(target), self._partners(target), strict=True):
            total += _expand(weight, target) * partner
        return total.to(target.dtype)

    def _cut_mask(self, target: Tensor, stride: tuple[int, int]) -> Tensor:
        params = self.params if stride == (1, 1) else self.params.scaled(stride)
        if not isinstance(target, SoftTarget):
            return self.mix_mask(params, target)
        if target.teachers:
            raise ValueError(
                f"{self.owner} needs labels without a teacher, but got some that carry one; Distillation comes "
                "after every mixing trick"
            )
        labels, weights = (
            torch.stack([self.mix_mask(params, part) for part in parts])
            for parts in zip(*target.components, strict=True)
        )
        return target.like(labels, weights, None, target._origins)

    def _in_form(self, soft: SoftTarget) -> Tensor:
        """Class labels in the form that ``labels=`` asks for."""
        if self.labels == "soft":
            return soft
        if self.num_classes is not None:
            check_range(self.owner, soft, self.num_classes)
            return soft.probabilities(self.num_classes)
        if soft.label_smoothing:
            raise ValueError(
                f'{self.owner} with labels="sample" draws plain labels, which cannot carry the smoothing that '
                f"was put on them before (label_smoothing={soft.label_smoothing}); put LabelSmoothing after "
                f"{self.owner}, or smooth in the criterion"
            )
        labels, weights = (torch.stack(part) for part in zip(*soft.components, strict=True))
        return self._chosen(labels, weights).long()

    def _picked(self, target: Tensor) -> Tensor:
        """The numbers of the component that is drawn for each sample, so that 0 and 1 stay what they are."""
        partners, weights = torch.stack(self._partners(target)), self._weights_beside(target)
        return self._chosen(partners, _expand(weights, partners, 2).expand_as(partners))

    def _chosen(self, labels: Tensor, weights: Tensor) -> Tensor:
        """Of components (K, N, ...) the one that ``picks`` draws by the weights, for each sample."""
        picks = torch.from_numpy(self.params.picks).to(labels.device, non_blocking=True)
        chosen = (_expand(picks, labels[0]) >= weights.cumsum(0)[:-1]).sum(0, keepdim=True)
        return labels.gather(0, chosen)[0]


def _expand(values: Tensor, target: Tensor, first: int = 1) -> Tensor:
    """Values of the ``first`` dimensions of a target, with a dimension for each of the others."""
    return values.view(*values.shape, *[1] * (target.ndim - first))


def are_float_hits(target: Any) -> bool:
    """Whether these are binary or multi-hot labels as floating 0s and 1s; one-hot rows are not meant."""
    if isinstance(target, (Mapping, list, tuple)):
        entries = target.values() if isinstance(target, Mapping) else target
        return not is_detection(target) and any(map(are_float_hits, entries))
    if not isinstance(target, Tensor) or isinstance(target, SoftTarget) or not target.is_floating_point():
        return False
    if (
        target.is_meta
        or not 0 < target.ndim < 3
        or not (target == 1).any()
        or not ((target == 0) | (target == 1)).all()
    ):
        return False
    return target.ndim == 1 or target.shape[1] == 1 or bool((target.sum(1) != 1).any())
