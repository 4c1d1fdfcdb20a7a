"""Boxes of every image filled with a value: what Cutout and RandomErasing have in common."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_tricks.functional._boxes import box_mask, checked_boxes


def erase(images: Tensor, *, boxes: Tensor | np.ndarray, value: float | Sequence[float] | Tensor, trick: str) -> Tensor:
    """Fills the boxes of each image.

    Args:
        images: tensor of any dtype (N, …, H, W).
        boxes: integers (N, 4) or (N, n_boxes, 4), each ``(top, left, height, width)`` in pixels.
        value: a number; one number a channel, for images (N, C, …, H, W); or a tensor that broadcasts to the images.
        trick: the function that asks, named in errors.

    Returns:
        A new tensor of the same shape, dtype, device and memory format.

    Raises:
        TypeError: if the boxes are not integers, or a tensor of values would lose its fraction in integer images.
        ValueError: if the boxes have another shape, the values are not one a channel, or a number does not fit the
            images' dtype.
        RuntimeError: by torch, if a tensor of values does not broadcast to the images, or ``images`` requires a
            gradient while gradients are on.

    Example:
        >>> import torch
        >>> erase(torch.ones(1, 2, 3), boxes=torch.tensor([[0, 1, 1, 2]]), value=7, trick="cutout").tolist()
        [[[1.0, 7.0, 7.0], [1.0, 1.0, 1.0]]]
    """
    boxes = checked_boxes(boxes, images=images, trick=trick)
    fill = _fill(value, images, trick)
    if _pays_one_by_one(images, boxes):
        return _erase_one_by_one(images, boxes, fill)
    mask = box_mask(boxes, images=images, trick=trick)
    return torch.where(mask, fill, images, out=torch.empty_like(images))


_LARGE_IMAGE = 2**16  # bytes


def _pays_one_by_one(images: Tensor, boxes: Tensor | np.ndarray) -> bool:
    """On the CPU torch's ``where`` is not vectorised: for large images a loop over the boxes costs less."""
    on_cpu = images.device.type == "cpu" and (isinstance(boxes, np.ndarray) or boxes.device.type == "cpu")
    differentiable = images.requires_grad and torch.is_grad_enabled()
    return on_cpu and not differentiable and images.nbytes >= len(images) * _LARGE_IMAGE > 0


def _erase_one_by_one(images: Tensor, boxes: Tensor | np.ndarray, fill: Tensor) -> Tensor:
    erased = images.clone()
    for image, source, holes in zip(
        erased, fill.expand_as(images), boxes.reshape(len(images), -1, 4).tolist(), strict=True
    ):
        for top, left, height, width in holes:
            rows = slice(max(top, 0), max(top + height, 0))
            columns = slice(max(left, 0), max(left + width, 0))
            image[..., rows, columns] = source[..., rows, columns]
    return erased


def _fill(value: float | Sequence[float] | Tensor, images: Tensor, trick: str) -> Tensor:
    """The value as a tensor of the images' dtype that broadcasts against them."""
    check_fits(value, images=images, trick=trick)
    if isinstance(value, Tensor):
        return value.to(device=images.device, dtype=images.dtype).expand_as(images)
    if not isinstance(value, Sequence):
        return images.new_full((1,) * (images.ndim - 1), value)
    fill = torch.tensor(value, dtype=images.dtype).to(images.device, non_blocking=True)
    return fill.view(-1, *[1] * (images.ndim - 2))


def check_fits(value: float | Sequence[float] | Tensor, *, images: Tensor, trick: str) -> None:
    """Raises for values that cannot fill images like these; see :func:`erase`.

    Example:
        >>> import torch
        >>> check_fits((0.5, 1.5), images=torch.ones(1, 3, 8, 6), trick="cutout")
        Traceback (most recent call last):
        ...
        ValueError: cutout needs one value a channel, but got 2 for images of shape (1, 3, 8, 6)
    """
    if isinstance(value, Tensor):
        if not torch.can_cast(value.dtype, images.dtype):
            raise TypeError(f"{trick} cannot fill images of {images.dtype} with values of {value.dtype}")
        return
    numbers = list(value) if isinstance(value, Sequence) else [value]
    if isinstance(value, Sequence) and (images.ndim < 4 or len(numbers) != images.shape[1]):
        raise ValueError(
            f"{trick} needs one value a channel, but got {len(numbers)} for images of shape {tuple(images.shape)}"
        )
    if images.is_floating_point() or images.is_complex():
        limit = torch.finfo(images.dtype).max
        if any(limit < abs(number) < math.inf for number in numbers):
            raise ValueError(f"{trick} needs numbers up to {limit:g} for {images.dtype}, but got {value}")
    else:
        low, high = _range(images.dtype)
        if not all(float(number).is_integer() and low <= number <= high for number in numbers):
            raise ValueError(f"{trick} needs whole numbers in {low}..{high} for {images.dtype}, but got {value}")


def _range(dtype: torch.dtype) -> tuple[int, int]:
    if dtype == torch.bool:
        return 0, 1
    limits = torch.iinfo(dtype)
    return limits.min, limits.max
