"""Boxes in images: masks of their pixels, and filling them with a value."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

Boxes: TypeAlias = Tensor | np.ndarray
"""Integers (N, 4) or (N, n_boxes, 4), each ``(top, left, height, width)`` in pixels; what lies outside is cut off."""
Fill: TypeAlias = float | Sequence[float] | Tensor
"""A number; one number per channel, for images (N, C, …, H, W); or a tensor that broadcasts to the images."""

_LARGE_IMAGE = 2**16  # bytes


def image_size(images: Tensor, *, owner: str) -> tuple[int, int]:
    """Returns ``(H, W)`` of images (N, …, H, W)."""
    if images.ndim < 3:
        raise ValueError(f"{owner} needs images of shape (N, ..., H, W), but got shape {tuple(images.shape)}.")
    return images.shape[-2], images.shape[-1]


def boxes_around(
    centers: ArrayLike, *, length: int | np.ndarray, size: tuple[int, int], owner: str, name: str
) -> np.ndarray:
    """Returns boxes of a given side around pixels of the image, clipped at its border."""
    middle, extent = np.asarray(centers), np.asarray(size)
    if not ((middle >= 0) & (middle < extent)).all():
        raise ValueError(f"{owner} needs {name} to be inside the image of size {tuple(size)}, but got {middle}.")
    start = middle - length // 2
    stop = np.minimum(start + length, extent)
    start = np.maximum(start, 0)
    return np.concatenate([start, stop - start], axis=-1)


def box_mask(boxes: Boxes, *, images: Tensor, owner: str) -> Tensor:
    """Marks the pixels inside the boxes: bool (N, 1, …, 1, H, W) on the images' device, without reading a box back."""
    boxes = _checked_boxes(boxes, images=images, owner=owner)
    start, stop = boxes[..., :2], boxes[..., :2] + boxes[..., 2:]
    inside = []
    for axis, length in enumerate(images.shape[-2:]):
        # numpy compares what numpy drew: its small operations cost a fraction of torch's, and a GPU gets two copies
        # instead of a dozen launches.
        places = np.arange(length) if isinstance(boxes, np.ndarray) else torch.arange(length, device=boxes.device)
        marks = (places >= start[..., axis, None]) & (places < stop[..., axis, None])
        # As bytes: on the CPU torch's & of bools is about ten times slower.
        inside.append(torch.as_tensor(marks).to(images.device, non_blocking=True).view(torch.uint8))
    mask = (inside[0][..., :, None] & inside[1][..., None, :]).view(torch.bool)
    if boxes.ndim == 3:
        mask = mask[:, 0] if mask.shape[1] == 1 else mask.any(dim=1)
    return mask.view(len(images), *[1] * (images.ndim - 3), *images.shape[-2:])


def erase(images: Tensor, *, boxes: Boxes, value: Fill, owner: str) -> Tensor:
    """Returns new images whose boxes are filled with a value; the shape, dtype and memory format stay."""
    boxes = _checked_boxes(boxes, images=images, owner=owner)
    check_fits(value, images=images, owner=owner)
    if isinstance(value, Tensor):
        fill = value.to(device=images.device, dtype=images.dtype).expand_as(images)
    elif isinstance(value, Sequence):
        fill = torch.tensor(value, dtype=images.dtype).to(images.device, non_blocking=True)
        fill = fill.view(-1, *[1] * (images.ndim - 2))
    else:
        fill = images.new_full((1,) * (images.ndim - 1), value)
    if _pays_one_by_one(images, boxes):
        return _erase_one_by_one(images, boxes, fill)
    return torch.where(box_mask(boxes, images=images, owner=owner), fill, images, out=torch.empty_like(images))


def check_fits(value: Fill, *, images: Tensor, owner: str) -> None:
    """Raises for values that cannot fill these images: another number of channels, or beyond their dtype."""
    dtype = images.dtype
    if isinstance(value, Tensor):
        if not torch.can_cast(value.dtype, dtype):
            raise TypeError(f"{owner} needs values that {dtype} images can hold, but got {value.dtype}.")
        return
    numbers = list(value) if isinstance(value, Sequence) else [value]
    if isinstance(value, Sequence) and (images.ndim < 4 or len(numbers) != images.shape[1]):
        raise ValueError(
            f"{owner} needs one value per channel, but got {len(numbers)} for images of shape {tuple(images.shape)}."
        )
    if images.is_floating_point() or images.is_complex():
        limit = torch.finfo(dtype).max
        if any(limit < abs(number) < math.inf for number in numbers):
            raise ValueError(f"{owner} needs numbers up to {limit:g} for {dtype}, but got {value}.")
        return
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    if not all(float(number).is_integer() and low <= number <= high for number in numbers):
        raise ValueError(f"{owner} needs whole numbers in {low}..{high} for {dtype}, but got {value}.")


def _checked_boxes(boxes: Boxes, *, images: Tensor, owner: str) -> Boxes:
    """Returns the boxes in 64 bits, lists as a tensor."""
    n = len(images)
    image_size(images, owner=owner)
    if isinstance(boxes, np.ndarray):
        is_integer = boxes.dtype.kind in "iu"
    else:
        boxes = torch.as_tensor(boxes)
        is_integer = not (boxes.is_floating_point() or boxes.is_complex() or boxes.dtype == torch.bool)
    if not is_integer:
        raise TypeError(f"{owner} needs boxes of integers, but got {boxes.dtype}.")
    if boxes.ndim not in (2, 3) or boxes.shape[0] != n or boxes.shape[-1] != 4:
        raise ValueError(
            f"{owner} needs one box (top, left, height, width) per image, for {n} images, "
            f"but got boxes of shape {tuple(boxes.shape)}."
        )
    # In fewer bits the sum of a corner and a length may overflow.
    return boxes.astype(np.int64, copy=False) if isinstance(boxes, np.ndarray) else boxes.long()


def _pays_one_by_one(images: Tensor, boxes: Boxes) -> bool:
    """On the CPU torch's ``where`` is not vectorised: for large images a loop over the boxes costs less."""
    on_cpu = images.device.type == "cpu" and (isinstance(boxes, np.ndarray) or boxes.device.type == "cpu")
    differentiable = images.requires_grad and torch.is_grad_enabled()
    return on_cpu and not differentiable and images.nbytes >= len(images) * _LARGE_IMAGE > 0


def _erase_one_by_one(images: Tensor, boxes: Boxes, fill: Tensor) -> Tensor:
    """Erases with one copy per box."""
    erased = images.clone()
    fills = fill.expand_as(images)
    for image, source, holes in zip(erased, fills, boxes.reshape(len(images), -1, 4).tolist(), strict=True):
        for top, left, height, width in holes:
            rows = slice(max(top, 0), max(top + height, 0))
            columns = slice(max(left, 0), max(left + width, 0))
            image[..., rows, columns] = source[..., rows, columns]
    return erased
