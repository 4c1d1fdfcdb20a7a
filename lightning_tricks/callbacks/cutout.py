"""Cutout as a callback."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.batch_trick import BatchOptions, BatchParams, BatchTrick
from lightning_tricks.functional import check_fits, cutout, cutout_boxes, hole_side
from lightning_tricks.functional.checks import check_fill, check_integer, check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class CutoutParams(BatchParams):
    """What :class:`Cutout` has drawn.

    Attributes:
        boxes: ``(top, left, height, width)`` of each hole in pixels, integers (N, n_holes, 4).
    """

    boxes: np.ndarray


class Cutout(BatchTrick):
    """Fills square holes in every image; see :func:`lightning_tricks.functional.cutout`.

    Each image has its own holes; their centers are uniform over the image and they are clipped at its border. Targets,
    masks included, stay as they are. Arguments go by name.

    Args:
        n_holes: holes per image, at least 1.
        length: side of a hole: pixels if an int, a share of the shorter side if a float in (0, 1). A hole that can
            cover the whole image is an error at the first batch.
        value: what holes are filled with, in the units of the images that reach ``training_step``: a number, or one
            number per channel. 0 is the mean of the data set where images are normalised.
        shared: the keywords of :class:`~lightning_tricks.BatchTrick`: ``p``, ``start_epoch``, ...

    Raises:
        TypeError: an argument has the wrong type, or is given without its name.
        ValueError: an argument is out of its range; at the first batch, a shape does not fit.

    Example:
        >>> import torch
        >>> images, labels = Cutout(length=3)((torch.ones(2, 3, 8, 6), torch.arange(2)), rng=0)
        >>> bool((images == 0).any())
        True

    References:
        DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", arXiv:1708.04552.
    """

    uses_target: ClassVar[bool] = False

    def __init__(
        self,
        *unnamed: NoReturn,
        n_holes: int = 1,
        length: int | float = 16,
        value: float | Sequence[float] = 0.0,
        **shared: Unpack[BatchOptions],
    ) -> None:
        super().__init__(**shared)
        if unnamed:
            raise TypeError(
                f"{self.name} needs its arguments by name, but got {', '.join(map(repr, unnamed))}; write "
                f"{self.name}(length=16) for a hole of 16 pixels, or {self.name}(n_holes=2, length=16) for two holes."
            )
        self.n_holes = check_integer(self.name, "n_holes", n_holes, low=1)
        if isinstance(length, float):
            self.length: int | float = check_number(self.name, "a float length", length, above=0.0, below=1.0)
        else:
            self.length = check_integer(self.name, "length", length, low=1)
        self.value = check_fill(self.name, value)

    def draw(self, rng: np.random.Generator, images: Tensor) -> CutoutParams:
        """Draws ``active`` and the holes of each image."""
        size = (images.shape[-2], images.shape[-1])
        active = bool(rng.random() < self.p)
        centers = rng.integers(size, size=(len(images), self.n_holes, 2))
        return CutoutParams(active=active, boxes=cutout_boxes(centers, length=self.length, size=size))

    def check_images(self, images: Tensor) -> None:
        """Holes must leave something of the images, and the fill fit their channels and dtype."""
        super().check_images(images)
        hole_side(self.length, size=(images.shape[-2], images.shape[-1]))
        check_fits(self.value, images=images, owner=self.name)

    def apply(self, params: CutoutParams, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Fills the holes."""
        return cutout(images, boxes=params.boxes, value=self.value) if params.active else images, target
