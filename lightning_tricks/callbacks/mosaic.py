"""Mosaic as a callback."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.mixing_trick import MixingTrick, MixOptions, MixParams
from lightning_tricks.engine.detection import check_movable, mosaic_target, rows_of
from lightning_tricks.engine.fields import describe
from lightning_tricks.engine.targets import scaled_edge
from lightning_tricks.functional import mosaic, mosaic_weights
from lightning_tricks.functional.checks import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class MosaicParams(MixParams):
    """What :class:`Mosaic` has drawn; the order is top-left, top-right, bottom-left, bottom-right.

    Attributes:
        size: ``(H, W)`` of the images.
        center: ``(row, column)`` where the quadrants meet.
    """

    size: tuple[int, int] = dataclasses.field(repr=False)
    center: tuple[int, int]

    def scaled(self, stride: tuple[int, int]) -> MosaicParams:
        """The center in coarser pixels."""
        size, center = np.asarray(self.size) // stride, scaled_edge(self.center, stride)
        return dataclasses.replace(self, size=tuple(size.tolist()), center=tuple(center.tolist()))


class Mosaic(MixingTrick):
    """Shows four whole images in the quadrants of one; see :func:`lightning_tricks.functional.mosaic`.

    The quadrants meet at a uniform point; each shows a partner, resized to it, and its label's weight is its area /
    (H·W). One point and four partners are drawn for the batch; a partner may be the sample itself. Masks are resized by
    nearest neighbour.

    In detection batches (one dictionary with ``boxes`` (M, 4) in xyxy an image) boxes are scaled and shifted with their
    image and dropped below ``min_box_size``; ``area`` is computed again, ``masks`` follow their image, and any other
    tensor with one row per box goes along. An image may be left without a box. Keypoints are refused.

    Args:
        center_range: least and greatest share of height and width at which the quadrants meet, in [0, 1].
        min_box_size: the least side, in pixels, of a box that is kept.
        shared: the keywords of :class:`~lightning_tricks.callbacks.mixing_trick.MixingTrick`: ``labels``, ``p``, ...

    Raises:
        TypeError: an argument has the wrong type; at the first batch, images or targets have.
        ValueError: an argument is out of its range; at the first batch, a shape does not fit.

    Example:
        >>> import torch
        >>> images, target = Mosaic()((torch.rand(4, 3, 8, 6), torch.arange(4)), rng=0)
        >>> len(target.components)
        4

    References:
        After Bochkovskiy et al., "YOLOv4", arXiv:2004.10934, which crops its four images; here they are shown whole,
        and cropping is :class:`~lightning_tricks.RICAP`'s part.
    """

    num_components = 4
    takes_detection: ClassVar[bool] = True

    def __init__(
        self,
        center_range: tuple[float, float] = (0.25, 0.75),
        *,
        min_box_size: float = 2.0,
        **shared: Unpack[MixOptions],
    ) -> None:
        super().__init__(**shared)
        if not isinstance(center_range, Sequence) or len(center_range) != 2:
            raise TypeError(f"{self.name} needs center_range to be a pair of numbers, but got {center_range!r}.")
        low = check_number(self.name, "center_range[0]", center_range[0], low=0.0, high=1.0)
        self.center_range = low, check_number(self.name, "center_range[1]", center_range[1], low=low, high=1.0)
        self.min_box_size = check_number(self.name, "min_box_size", min_box_size, low=0.0)

    def draw(self, rng: np.random.Generator, images: Tensor) -> MosaicParams:
        """Draws ``active``, the center and the partners."""
        n, (height, width) = len(images), images.shape[-2:]
        active = bool(rng.random() < self.p)
        share = rng.uniform(*self.center_range, size=2)
        center = (round(height * share[0]), round(width * share[1]))
        return MosaicParams(
            active=active,
            size=(height, width),
            center=center,
            shifts=tuple(int(shift) for shift in rng.integers(max(n, 1), size=4)),
            weights=mosaic_weights(center, size=(height, width)),
            picks=self.draw_picks(rng, n),
        )

    def check_images(self, images: Tensor) -> None:
        """Resizing needs floating point or bytes."""
        super().check_images(images)
        if not (images.is_floating_point() or images.dtype == torch.uint8):
            raise TypeError(f"{self.name} needs floating-point or uint8 images, but got {describe(images)}.")

    def check_detection(self, images: Tensor, targets: Sequence[Mapping[str, Any]]) -> None:
        """Boxes, and what goes along, are to be moved too."""
        if any("keypoints" in target for target in targets):
            raise TypeError("keypoints cannot be moved with their boxes; leave them out of the target.")
        super().check_detection(images, targets)
        check_movable(targets, size=(images.shape[-2], images.shape[-1]))

    def mix_images(self, params: MosaicParams, images: Tensor) -> Tensor:
        """Resizes images, floating-point ones or bytes."""
        return mosaic(images, center=params.center, shifts=params.shifts)

    def mix_mask(self, params: MosaicParams, mask: Tensor) -> Tensor:
        """Resizes masks of any dtype by nearest neighbour."""
        return mosaic(mask, center=params.center, shifts=params.shifts, interpolation="nearest")

    def mix_detection(self, params: MosaicParams, images: Tensor, targets: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Moves the boxes of the four partners into their quadrants."""
        n, rows = len(targets), rows_of(targets)
        return [
            mosaic_target(
                [rows[(i + shift) % n] for shift in params.shifts],
                own=own,
                center=params.center,
                size=params.size,
                min_box_size=self.min_box_size,
            )
            for i, own in enumerate(targets)
        ]
