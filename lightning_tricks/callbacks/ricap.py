"""RICAP as a callback."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.mixing_trick import MixingTrick, MixOptions, MixParams
from lightning_tricks.engine.targets import scaled_edge
from lightning_tricks.functional import quadrants, ricap, ricap_weights
from lightning_tricks.functional.checks import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class RICAPParams(MixParams):
    """What :class:`RICAP` has drawn; the order is top-left, top-right, bottom-left, bottom-right.

    Attributes:
        size: ``(H, W)`` of the images.
        boundary: ``(row, column)`` where the patches meet.
        offsets: ``(top, left)`` of each crop in its partner.
    """

    size: tuple[int, int] = dataclasses.field(repr=False)
    boundary: tuple[int, int]
    offsets: tuple[tuple[int, int], ...] = dataclasses.field(repr=False)

    def scaled(self, stride: tuple[int, int]) -> RICAPParams:
        """The boundary and the crops in coarser pixels."""
        steps, size = np.asarray(stride), np.asarray(self.size) // stride
        boundary = scaled_edge(self.boundary, steps)
        offsets = []
        for box, offset in zip(quadrants(self.boundary, size=self.size, owner="RICAP"), self.offsets, strict=True):
            start, stop = scaled_edge(box[:2], steps), scaled_edge(np.add(box[:2], box[2:]), steps)
            moved = start + (2 * np.subtract(offset, box[:2]) + steps) // (2 * steps)
            offsets.append(tuple(np.clip(moved, 0, size - (stop - start)).tolist()))
        return dataclasses.replace(
            self, size=tuple(size.tolist()), boundary=tuple(boundary.tolist()), offsets=tuple(offsets)
        )


class RICAP(MixingTrick):
    """Patches every image together from crops of four; see :func:`lightning_tricks.functional.ricap`.

    The patches meet at h = round(H·Beta(β, β)), w = round(W·Beta(β, β)); each is a crop of its own size at a uniform
    place of its own partner, and its label's weight is its area / (H·W). One boundary, four partners and four places
    are drawn for the batch; a partner may be the sample itself.

    Args:
        beta: β of the Beta distribution, above 0.
        shared: the keywords of :class:`~lightning_tricks.callbacks.mixing_trick.MixingTrick`: ``labels``, ``p``, ...

    Raises:
        TypeError: an argument has the wrong type; at the first batch, images or targets have.
        ValueError: an argument is out of its range; at the first batch, a shape does not fit.

    Example:
        >>> import torch
        >>> images, target = RICAP()((torch.rand(4, 3, 8, 6), torch.arange(4)), rng=0)
        >>> len(target.components)
        4

    References:
        Takahashi et al., "Data Augmentation using Random Image Cropping and Patching for Deep CNNs", arXiv:1811.09030.
    """

    num_components = 4

    def __init__(self, beta: float = 0.3, **shared: Unpack[MixOptions]) -> None:
        super().__init__(**shared)
        self.beta = check_number(self.name, "beta", beta, above=0.0)

    def draw(self, rng: np.random.Generator, images: Tensor) -> RICAPParams:
        """Draws ``active``, the boundary, the crops and their partners."""
        n, (height, width) = len(images), images.shape[-2:]
        active = bool(rng.random() < self.p)
        share = rng.beta(self.beta, self.beta, 2)
        boundary = (round(height * share[0]), round(width * share[1]))
        offsets = tuple(
            (int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)))
            for _, _, h, w in quadrants(boundary, size=(height, width), owner=self.name)
        )
        return RICAPParams(
            active=active,
            size=(height, width),
            boundary=boundary,
            offsets=offsets,
            shifts=tuple(int(shift) for shift in rng.integers(max(n, 1), size=4)),
            weights=ricap_weights(boundary, size=(height, width)),
            picks=self.draw_picks(rng, n),
        )

    def mix_images(self, params: RICAPParams, images: Tensor) -> Tensor:
        """Patches images, or masks of any dtype."""
        return ricap(images, boundary=params.boundary, offsets=params.offsets, shifts=params.shifts)
