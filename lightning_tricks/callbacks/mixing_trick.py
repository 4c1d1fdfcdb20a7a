"""The base of the tricks that mix the samples of a batch, and what becomes of every kind of target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import TVTensor, wrap

from lightning_tricks.callbacks.batch_fields import describe, set_at
from lightning_tricks.callbacks.batch_trick import BatchParams, BatchTrick
from lightning_tricks.functional.checks import check_choice, check_integer
from lightning_tricks.soft_target import SoftTarget


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixParams(BatchParams):
    """What a mixing trick has drawn for one batch.

    Attributes:
        picks: for ``labels="sample"``, one uniform number a sample in [0, 1), float32 (N,); else ``None``.
    """

    picks: np.ndarray | None = None

    @property
    def shifts(self) -> tuple[int, ...]:
        """Component k of sample i is sample (i + shifts[k]) mod N."""
        raise NotImplementedError

    @property
    def weights(self) -> tuple[float | np.ndarray, ...]:
        """The share of each component: a number, or an array (N,), one a sample. They sum to 1."""
        raise NotImplementedError


class MixingTrick(BatchTrick):
    """A batch trick after which a sample has several labels, with weights.

    Class indices become what ``labels`` says. Floating-point targets (soft or multi-hot labels, regression) become
    their weighted sum. A target whose last two dimensions are the image's (a mask) is mixed as its image is; a mask of
    classes under Mixup, where no pixel has one class, becomes what ``labels`` says. Several targets in a mapping, list
    or tuple are each treated so. A batch of nothing but images is mixed without labels.

    With one sample in the batch there is no partner, and the batch keeps its images.

    Args:
        labels: what class indices become. ``"soft"``: a :class:`~lightning_tricks.SoftTarget`, exact in
            ``F.cross_entropy``. ``"sample"``: a plain int64 label, for each sample drawn from its components by their
            weights, so that any loss whatsoever has the right expectation. ``"dense"``: float32 probabilities
            (N, num_classes).
        num_classes: number of classes, for ``labels="dense"``.
        shared: the arguments of :class:`~lightning_tricks.BatchTrick`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range, or ``num_classes`` is missing or has no use.
    """

    mixes: ClassVar[bool] = True
    cuts: ClassVar[bool] = True
    """Whether each pixel of the result comes from one image, so that a mask of classes stays one."""

    def __init__(self, *, labels: str = "soft", num_classes: int | None = None, **shared: Any) -> None:
        super().__init__(**shared)
        self.labels = check_choice(self.name, "labels", labels, ("soft", "sample", "dense"))
        if (labels == "dense") != (num_classes is not None):
            raise ValueError(
                f'{self.name} needs num_classes for labels="dense", and for that alone, but got labels={labels!r} and '
                f"num_classes={num_classes!r}"
            )
        self.num_classes = None if num_classes is None else check_integer(self.name, "num_classes", num_classes, low=1)

    def mix_images(self, params: Any, images: Tensor) -> Tensor:
        """Returns the mixed images, or masks with the images' last two dimensions; N is at least 2."""
        raise NotImplementedError

    def draw_picks(self, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """Draws :attr:`MixParams.picks` where ``labels`` needs them."""
        return rng.random(n, dtype=np.float32) if self.labels == "sample" else None

    def apply(self, params: Any, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Returns the mixed images and what becomes of the target."""
        mixing = params.active and len(images) > 1
        new_target = None if target is None else self._mix_target(params, images, target, mixing=mixing)
        return self.mix_images(params, images) if mixing else images, new_target

    def check_images(self, images: Tensor) -> None:
        """Box tricks need a batch of images with height and width."""
        if images.ndim < 4:
            raise ValueError(f"{self.name} needs images of shape (N, C, H, W), but got {describe(images)}")

    def _mix_target(self, params: MixParams, images: Tensor, target: Any, *, mixing: bool) -> Any:
        if isinstance(target, (Mapping, list, tuple)):
            entries = target.items() if isinstance(target, Mapping) else enumerate(target)
            mixed = {key: self._mix_target(params, images, entry, mixing=mixing) for key, entry in entries}
            for key, entry in mixed.items():
                target = set_at(target, (key,), entry)
            return target
        if not isinstance(target, Tensor):
            raise TypeError(f"{self.name} needs targets that are tensors, but got {describe(target)}")
        if target.ndim == 0 or len(target) != len(images):
            raise ValueError(
                f"{self.name} needs one target for each of its {len(images)} images, but got {describe(target)}"
            )
        if isinstance(target, TVTensor):
            return wrap(self._mix_tensor(params, images, target.as_subclass(Tensor), mixing=mixing), like=target)
        return self._mix_tensor(params, images, target, mixing=mixing)

    def _mix_tensor(self, params: MixParams, images: Tensor, target: Tensor, *, mixing: bool) -> Tensor:
        is_mask = images.ndim >= 4 and target.ndim >= 3 and target.shape[-2:] == images.shape[-2:]
        if is_mask and (self.cuts or target.is_floating_point()):
            return self._cut_mask(params, target) if mixing else target
        if target.dtype == torch.bool or target.is_complex():
            raise TypeError(
                f"{self.name} needs integer class labels or floating-point targets, but got {describe(target)}; "
                "multi-hot labels are mixed as floating-point numbers: .float() them in the data set"
            )
        shifts, weights = self._components(params, images, mixing=mixing)
        rolled = [target.roll(-shift, 0) if shift else target for shift in shifts]
        if not target.is_floating_point() or isinstance(target, SoftTarget):
            return self._mix_labels(SoftTarget.mix(rolled, weights), params)
        if not mixing:
            return target
        mixed = torch.zeros_like(target, dtype=torch.promote_types(target.dtype, torch.float32))
        for weight, component in zip(weights, rolled, strict=True):
            mixed += weight.view(-1, *[1] * (target.ndim - 1)) * component
        return mixed.to(target.dtype)

    def _components(
        self, params: MixParams, images: Tensor, *, mixing: bool
    ) -> tuple[tuple[int, ...], tuple[Tensor, ...]]:
        """The shift of each component and its weights, float32 (N,), on the images' device."""
        n = len(images)
        count = len(params.shifts)
        shifts = params.shifts if mixing else (0,) * count
        weights = np.empty((count, n), np.float32)
        for k, weight in enumerate(params.weights if mixing else [1.0] + [0.0] * (count - 1)):
            weights[k] = weight
        return shifts, torch.from_numpy(weights).to(images.device, non_blocking=True).unbind()

    def _cut_mask(self, params: MixParams, target: Tensor) -> Tensor:
        if not isinstance(target, SoftTarget):
            return self.mix_images(params, target)
        spatial = [(labels, _expand(weights, labels)) for labels, weights in target.components]
        labels, weights = zip(*spatial, strict=True)
        cut: Callable[[Tensor], Tensor] = lambda part: self.mix_images(params, part)  # noqa: E731
        return SoftTarget.mix([cut(part) for part in labels], [cut(part) for part in weights])

    def _mix_labels(self, soft: SoftTarget, params: MixParams) -> Tensor:
        if self.labels == "soft":
            return soft
        if self.labels == "dense":
            return soft.probabilities(self.num_classes)
        labels = torch.stack([labels for labels, _ in soft.components])
        weights = torch.stack([_expand(weights, labels[0]) for _, weights in soft.components])
        picks = torch.from_numpy(params.picks).to(labels.device, non_blocking=True)
        chosen = (_expand(picks, labels[0]) >= weights.cumsum(0)[:-1]).sum(0, keepdim=True)
        return labels.gather(0, chosen)[0].long()


def _expand(weights: Tensor, labels: Tensor) -> Tensor:
    """The weights, one a sample or one a label, as a tensor of the labels' shape."""
    if weights.ndim < labels.ndim:
        weights = weights.view(-1, *[1] * (labels.ndim - 1))
    return weights.expand(labels.shape)
