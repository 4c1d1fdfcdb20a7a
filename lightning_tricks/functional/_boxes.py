"""Boxes, one or several an image, turned into a mask of the pixels that they cover."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def box_mask(boxes: Tensor | np.ndarray, *, images: Tensor, trick: str) -> Tensor:
    """Marks the pixels inside the boxes of each image, on the images' device and without reading a box back.

    Args:
        boxes: integers (N, 4) or (N, n_boxes, 4), each ``(top, left, height, width)`` in pixels. A box without area
            covers nothing; one that reaches past the border covers what lies inside.
        images: tensor (N, …, H, W) that the mask is for.
        trick: the function that asks, named in errors.

    Returns:
        Bool tensor (N, 1, …, 1, H, W), true inside a box; it broadcasts against ``images``.

    Raises:
        TypeError: if the boxes are not integers.
        ValueError: if ``images`` has fewer than three dimensions, or the boxes another shape.

    Example:
        >>> import torch
        >>> box_mask(torch.tensor([[0, 1, 1, 2]]), images=torch.zeros(1, 2, 4), trick="cutout").int().tolist()
        [[[0, 1, 1, 0], [0, 0, 0, 0]]]
    """
    boxes = checked_boxes(boxes, images=images, trick=trick)
    n, (height, width) = len(images), images.shape[-2:]
    start, extent = boxes[..., :2], boxes[..., 2:]
    stop = start + extent
    # What numpy has drawn numpy compares: its small operations cost a fraction of torch's, and a GPU gets two copies
    # instead of a dozen launches.
    row, column = (_arange(length, like=boxes) for length in (height, width))
    inside = (row >= start[..., :1]) & (row < stop[..., :1]), (column >= start[..., 1:]) & (column < stop[..., 1:])
    in_rows, in_columns = (torch.as_tensor(part).to(images.device, non_blocking=True) for part in inside)
    # As bytes: on the CPU torch's & of bools is about ten times slower.
    mask = (in_rows.view(torch.uint8)[..., :, None] & in_columns.view(torch.uint8)[..., None, :]).view(torch.bool)
    if boxes.ndim == 3:
        mask = mask[:, 0] if mask.shape[1] == 1 else mask.any(dim=1)
    return mask.view(n, *[1] * (images.ndim - 3), height, width)


def checked_boxes(boxes: Tensor | np.ndarray, *, images: Tensor, trick: str) -> Tensor | np.ndarray:
    """Returns the boxes in 64 bits, lists as a tensor; see :func:`box_mask` for what is needed and what is raised."""
    n = len(images)
    if images.ndim < 3:
        raise ValueError(f"{trick} needs images of shape (N, ..., H, W), but got shape {tuple(images.shape)}")
    if not isinstance(boxes, np.ndarray):
        boxes = torch.as_tensor(boxes)
    if not _is_integer(boxes):
        raise TypeError(f"{trick} needs boxes of integers, but got {boxes.dtype}")
    if boxes.ndim not in (2, 3) or boxes.shape[0] != n or boxes.shape[-1] != 4:
        raise ValueError(
            f"{trick} needs one box (top, left, height, width) an image, for {n} images, "
            f"but got boxes of shape {tuple(boxes.shape)}"
        )
    # In fewer bits the sum of a corner and a length may overflow.
    return boxes.astype(np.int64, copy=False) if isinstance(boxes, np.ndarray) else boxes.long()


def _arange(length: int, *, like: Tensor | np.ndarray) -> Any:
    return np.arange(length) if isinstance(like, np.ndarray) else torch.arange(length, device=like.device)


def _is_integer(boxes: Tensor | np.ndarray) -> bool:
    if isinstance(boxes, np.ndarray):
        return boxes.dtype.kind in "iu"
    return not (boxes.is_floating_point() or boxes.is_complex() or boxes.dtype == torch.bool)
