"""What becomes of each kind of target when the samples of a batch are mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, TVTensor, wrap

from lightning_tricks.engine.fields import describe, is_detection, set_at
from lightning_tricks.engine.resolution import stride_of
from lightning_tricks.soft_target import SoftTarget
from lightning_tricks.soft_target.fallbacks import check_range

if TYPE_CHECKING:
    from lightning_tricks.callbacks.mixing_trick import MixingTrick, MixParams


class TargetMixer:
    """Mixes targets as one batch of images is mixed.

    Args:
        trick: the trick that mixes; it says what class indices become and how a mask is cut.
        params: what it has drawn.
        images: the images before they are mixed; only their shape matters.
        mixing: whether they are mixed, or the target only takes the form that it has in mixed batches.
    """

    def __init__(self, trick: MixingTrick, params: MixParams, images: Tensor, *, mixing: bool) -> None:
        self.trick, self.params, self.mixing = trick, params, mixing
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
                f"{self.trick.name} needs a detection target to be its one target, but got it among others: "
                f"{describe(target)}"
            )
        if isinstance(target, (list, tuple)) and len(target) == self.n and all(map(self._is_of_one_image, target)):
            raise TypeError(f"{self.trick.name} needs masks as one tensor, but got {describe(target)}; stack them")
        if isinstance(target, (Mapping, list, tuple)):
            entries = target.items() if isinstance(target, Mapping) else enumerate(target)
            for key, entry in [(key, self(entry)) for key, entry in entries]:
                target = set_at(target, (key,), entry)
            return target
        if not isinstance(target, Tensor) or target.layout != torch.strided:
            raise TypeError(f"{self.trick.name} needs targets that are tensors, but got {describe(target)}")
        if target.ndim == 0 or len(target) != self.n:
            raise ValueError(
                f"{self.trick.name} needs one target for each of its {self.n} images, but got {describe(target)}"
            )
        if isinstance(target, BoundingBoxes) and self.trick.cuts:
            raise TypeError(
                f"{self.trick.name} needs boxes in detection targets, one dictionary an image, but got "
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
                f"{self.trick.name} needs integer class labels or floating-point targets, but got {describe(target)}; "
                "multi-hot labels are mixed as floating-point numbers: .float() them in the data set"
            )
        if isinstance(target, SoftTarget) or not target.is_floating_point():
            return self._in_form(self._soft_labels(target))
        return self._weighted_sum(target) if self.mixing else target

    def _stride(self, target: Tensor) -> tuple[int, int] | None:
        """Image pixels per pixel of a target that is mixed as the images are; ``None`` for other targets."""
        if self.size is None:
            return None
        if self.trick.cuts:
            return stride_of(target, size=self.size, name=self.trick.name)
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
            return self.trick.mix_mask(params, target)
        if target.teachers:
            raise ValueError(
                f"{self.trick.name} needs labels without a teacher, but got some that carry one; Distillation comes "
                "after every mixing trick"
            )
        labels, weights = (
            torch.stack([self.trick.mix_mask(params, part) for part in parts])
            for parts in zip(*target.components, strict=True)
        )
        return target.like(labels, weights, None, target._origins)

    def _in_form(self, soft: SoftTarget) -> Tensor:
        """Class labels in the form that ``labels=`` asks for."""
        if self.trick.labels == "soft":
            return soft
        if self.trick.num_classes is not None:
            check_range(self.trick.name, soft, self.trick.num_classes)
            return soft.probabilities(self.trick.num_classes)
        if soft.label_smoothing:
            raise ValueError(
                f'{self.trick.name} with labels="sample" draws plain labels, which cannot carry the smoothing that '
                f"was put on them before (label_smoothing={soft.label_smoothing}); put LabelSmoothing after "
                f"{self.trick.name}, or smooth in the criterion"
            )
        labels, weights = (torch.stack(part) for part in zip(*soft.components, strict=True))
        picks = torch.from_numpy(self.params.picks).to(labels.device, non_blocking=True)
        chosen = (_expand(picks, soft) >= weights.cumsum(0)[:-1]).sum(0, keepdim=True)
        return labels.gather(0, chosen)[0].long()


def _expand(values: Tensor, target: Tensor) -> Tensor:
    """One value a sample, with a dimension for each of the target's."""
    return values.view(-1, *[1] * (target.ndim - 1))
