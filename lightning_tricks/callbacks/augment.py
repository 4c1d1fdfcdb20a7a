"""Augment: other people's transforms, on the batch and on its device, with reproducible draws."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, Image, KeyPoints, Mask, TVTensor, wrap
from typing_extensions import Unpack

from lightning_tricks.callbacks.batch_trick import BatchOptions, BatchParams, BatchTrick
from lightning_tricks.engine.fields import Path, describe, get_at, is_detection, set_at
from lightning_tricks.engine.targets import stride_of
from lightning_tricks.functional.checks import check_flag
from lightning_tricks.soft_target import SoftTarget


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentParams(BatchParams):
    """What :class:`Augment` has drawn.

    Attributes:
        seed: the seed from which the transform draws.
    """

    seed: int = dataclasses.field(repr=False)


class Augment(BatchTrick):
    """Applies a ``torchvision.transforms.v2`` transform to the batch on its device, after transfer.

    The transform's draws are reproducible where it draws from a global generator: torch's, of the CPU and the images'
    device, or that of ``random`` or ``numpy.random``. These are seeded from the trick's own random numbers and are
    afterwards as they were, also after an exception. A generator that a transform keeps for itself is not touched.

    A transform must keep the number of axes. With ``per_sample`` it gets single images; the batch axis of length 1 that
    a Kornia module adds to these is removed.

    Targets with the images' height and width (masks) and ``BoundingBoxes`` follow, as far as the transform moves such
    things; other targets stay as they are. In detection batches (one dictionary per image) boxes
    must be ``tv_tensors.BoundingBoxes``: a plain tensor would not move.

    Args:
        transform: any v2 transform (AutoAugment, RandAugment, TrivialAugmentWide, flips, a ``Compose``), a Kornia
            module, or a function with its signature. It must not mix samples: for that, take
            :class:`~lightning_tricks.Mixup` or :class:`~lightning_tricks.CutMix`.
        per_sample: draw again for each image; otherwise once for the batch, which is one call and much faster.
        shared: the keywords of :class:`~lightning_tricks.BatchTrick`: ``p``, ``start_epoch``, ...

    Raises:
        TypeError: an argument has the wrong type; at the first batch, a target cannot follow its image.
        ValueError: an argument is out of its range; the transform gives images of several sizes, or with other axes.

    Example:
        >>> import torch
        >>> from torchvision.transforms import v2
        >>> flip = Augment(v2.RandomHorizontalFlip(p=1.0))
        >>> flip((torch.arange(6.0).view(1, 1, 2, 3), torch.tensor([0])), rng=0)[0][0, 0].tolist()
        [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
    """

    uses_target: ClassVar[bool] = False
    takes_detection: ClassVar[bool] = True

    def __init__(
        self, transform: Callable[..., Any], *, per_sample: bool = True, **shared: Unpack[BatchOptions]
    ) -> None:
        # Only here, for it takes longer to import than all the rest of this package.
        from torchvision.transforms import v2

        super().__init__(**shared)
        if not callable(transform):
            raise TypeError(f"{self.name} needs a transform that can be called, but got {transform!r}.")
        if isinstance(transform, v2.MixUp | v2.CutMix) or _mixes_in_kornia(transform):
            raise TypeError(
                f"{self.name} needs a transform of single images, but got {transform!r}; use Mixup or CutMix."
            )
        self.transform = transform
        self.per_sample = check_flag(self.name, "per_sample", per_sample)

    @property
    def moves_pixels(self) -> bool:
        """A transform may do so."""
        return True

    def draw(self, rng: np.random.Generator, images: Tensor) -> AugmentParams:
        """Draws ``active`` and the transform's seed."""
        return AugmentParams(active=bool(rng.random() < self.p), seed=int(rng.integers(2**63)))

    def apply(self, params: AugmentParams, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Runs the transform."""
        if not params.active or len(images) == 0:
            return images, target
        apply = self._apply_to_detection if is_detection(target) else self._apply_with_places
        with _seeded(params.seed, images.device):
            # Of a copy, for some transforms can be told to write into the images that they get.
            new_images, target = apply(images.clone(), target)
        return _laid_out_like(images, new_images.as_subclass(Tensor)), target

    def _apply_with_places(self, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        places = list(self._places(target, (), images))
        strides = [self._stride(get_at(target, place), images) for place in places]
        parts = [_enlarged(get_at(target, place), stride) for place, stride in zip(places, strides, strict=True)]
        if self.per_sample:
            self._check_one_an_image(parts, images)
            samples = [[Image(image), *(_sample(part, i) for part in parts)] for i, image in enumerate(images)]
            results = [_joined(column, self.name) for column in zip(*map(self._call, samples), strict=True)]
        else:
            results = self._call([Image(images), *parts])
            if len(results[0]) != len(images):
                raise ValueError(
                    f"{self.name} needs a transform that gives as many images as it gets, but for {len(images)} "
                    f"got {len(results[0])}."
                )
        for place, stride, result in zip(places, strides, results[1:], strict=True):
            target = set_at(target, place, _in_type_of(get_at(target, place), self._reduced(result, stride)))
        return results[0], target

    def _apply_to_detection(self, images: Tensor, targets: Any) -> tuple[Tensor, Any]:
        typed = [set_at(entry, ("masks",), _typed(entry["masks"])) if "masks" in entry else entry for entry in targets]
        if self.per_sample:
            moved = [self._call([Image(image), entry]) for image, entry in zip(images, typed, strict=True)]
            new_images, entries = zip(*moved, strict=True)
            result = _joined(new_images, self.name)
        else:
            result, entries = self._call([Image(images), typed])
        new_targets = [
            set_at(new, ("masks",), _in_type_of(old["masks"], new["masks"])) if "masks" in old else new
            for old, new in zip(targets, entries, strict=True)
        ]
        return result, type(targets)(new_targets)

    def _call(self, sample: list[Any]) -> list[Any]:
        given = sample[0] if len(sample) == 1 else sample
        result = self.transform(given)
        results = [result] if len(sample) == 1 else result
        if not isinstance(results, (list, tuple)) or [isinstance(part, Tensor) for part in results] != [
            isinstance(part, Tensor) for part in sample
        ]:
            raise TypeError(
                f"{self.name} needs a transform that gives a tensor for each that it gets, but for {describe(given)} "
                f"got {describe(result)}."
            )
        return [self._on_its_axes(part, old) for part, old in zip(results, sample, strict=True)]

    def _on_its_axes(self, part: Any, old: Any) -> Any:
        """The result without the batch axis that Kornia adds; any other change of the number of axes is refused."""
        if not isinstance(part, Tensor) or part.ndim == old.ndim:
            return part
        if part.ndim == old.ndim + 1 and len(part) == 1:
            return part[0]
        raise ValueError(
            f"{self.name} needs a transform that keeps the number of axes, but for {describe(old)} got "
            f"{describe(part)}; wrap it in a function that gives the axes back."
        )

    def _check_one_an_image(self, parts: Sequence[Tensor], images: Tensor) -> None:
        for part in parts:
            if len(part) != len(images):
                raise ValueError(
                    f"{self.name} needs one mask or box for each of its {len(images)} images, but got "
                    f"{describe(part)}; several boxes per image go into one dictionary per image."
                )

    def _places(self, target: Any, path: Path, images: Tensor) -> Iterator[Path]:
        """Where the target holds masks and boxes, which follow their images."""
        if isinstance(target, Mapping | list | tuple):
            entries = target.items() if isinstance(target, Mapping) else enumerate(target)
            for key, entry in entries:
                yield from self._places(entry, (*path, key), images)
        elif isinstance(target, Tensor):
            is_mask = len(target.shape) > 0 and len(target) == len(images) and self._stride(target, images) is not None
            if is_mask and isinstance(target, SoftTarget):
                raise TypeError(
                    f"{self.name} cannot move a mask of soft labels; put {self.name} before the tricks that mix."
                )
            if is_mask or isinstance(target, TVTensor):
                yield path

    def _stride(self, target: Tensor, images: Tensor) -> tuple[int, int] | None:
        """Image pixels per pixel of a mask; ``None`` for what has no height and width."""
        if isinstance(target, BoundingBoxes | KeyPoints):
            return None
        return stride_of(target, size=(images.shape[-2], images.shape[-1]), name=self.name)

    def _reduced(self, result: Tensor, stride: tuple[int, int] | None) -> Tensor:
        """The middle of the pixels that each pixel of a coarser mask stands for, after the transform."""
        if stride in (None, (1, 1)):
            return result
        (down, across), (height, width) = stride, result.shape[-2:]
        if height % down or width % across:
            raise ValueError(
                f"{self.name} needs a transform whose images can be divided by {stride}, the pixels of an image per "
                f"pixel of its mask, but got images of size {(height, width)}."
            )
        middles = result.as_subclass(Tensor)[..., down // 2 :: down, across // 2 :: across]
        return wrap(middles, like=result) if isinstance(result, TVTensor) else middles

    def check_pair(self, images: Tensor, target: Any) -> None:
        """Masks must be of a size that can follow."""
        super().check_pair(images, target)
        if is_detection(target):
            for entry in target:
                if "masks" in entry and entry["masks"].shape[-2:] != images.shape[-2:]:
                    raise ValueError(
                        f"{self.name} needs masks of the images' size {tuple(images.shape[-2:])}, but got "
                        f"{describe(entry['masks'])}; resize them in the data set."
                    )
        else:
            list(self._places(target, (), images))

    def check_target(self, target: Any) -> None:
        """Boxes must be of a type that the transform knows."""
        if is_detection(target):
            for entry in target:
                if not isinstance(entry["boxes"], BoundingBoxes):
                    raise TypeError(
                        f"{self.name} needs boxes as tv_tensors.BoundingBoxes, but got {describe(entry['boxes'])}, "
                        "which a transform would leave where they are."
                    )


def _typed(part: Tensor) -> TVTensor:
    return part if isinstance(part, TVTensor) else Mask(part)


def _enlarged(part: Tensor, stride: tuple[int, int] | None) -> TVTensor:
    """A coarser mask at the images' resolution, so that the transform moves it by as many pixels."""
    if stride in (None, (1, 1)):
        return _typed(part)
    large = part.as_subclass(Tensor).repeat_interleave(stride[0], -2).repeat_interleave(stride[1], -1)
    return wrap(large, like=part) if isinstance(part, TVTensor) else Mask(large)


def _sample(part: TVTensor, i: int) -> TVTensor:
    """What belongs to image i; boxes stay a list, of one box."""
    return wrap(part[i : i + 1] if isinstance(part, BoundingBoxes) else part[i], like=part)


def _joined(results: Sequence[Tensor], name: str) -> Tensor:
    """The results for single images as a batch."""
    if isinstance(results[0], BoundingBoxes):
        return wrap(torch.cat(list(results)), like=results[0])
    if any(result.shape != results[0].shape for result in results):
        raise ValueError(f"{name} needs a transform that gives images of one size, but got several.")
    batch = torch.stack([result.as_subclass(Tensor) for result in results])
    return wrap(batch, like=results[0]) if isinstance(results[0], TVTensor) else batch


def _in_type_of(given: Tensor, result: Tensor) -> Tensor:
    return result if isinstance(given, TVTensor) else result.as_subclass(Tensor)


def _laid_out_like(given: Tensor, images: Tensor) -> Tensor:
    """Images in the memory format that they were given in; stacking and many transforms forget it."""
    for memory_format in (torch.contiguous_format, torch.channels_last):
        if given.is_contiguous(memory_format=memory_format) and images.ndim == given.ndim:
            return images.contiguous(memory_format=memory_format)
    return images


def _mixes_in_kornia(transform: Any) -> bool:
    """Whether a Kornia module, or one inside it, mixes samples; found by name, so that Kornia need not be installed."""
    parts = transform.modules() if isinstance(transform, torch.nn.Module) else ()
    return any(base.__name__ == "MixAugmentationBaseV2" for part in parts for base in type(part).__mro__)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds the global generators of torch (CPU and ``device``), random and numpy, and puts their states back."""
    own = [] if device.type in ("cpu", "meta") else [device.index or 0]
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(own, device_type=device.type if own else "cpu"):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)
            for index in own:
                # Not manual_seed of the device's module: it seeds the current device, which may be another one.
                state = torch.Generator(device).manual_seed(seed).get_state()
                torch.get_device_module(device).set_rng_state(state, index)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
