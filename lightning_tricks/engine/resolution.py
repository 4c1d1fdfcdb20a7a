"""Targets with a height and width: masks, heat maps and labels of patches, as fine as the images or coarser."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from lightning_tricks.engine.fields import describe


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
