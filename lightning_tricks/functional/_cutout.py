"""Cutout: square holes in each image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lightning_tricks.functional._boxes import boxes_around, erase
from lightning_tricks.functional.checks import check_integer, check_number


def cutout_boxes(centers: ArrayLike, *, length: int | float, size: tuple[int, int]) -> np.ndarray:
    """Places square holes and clips them at the image's border.

    A hole of ``length`` pixels begins ``⌊length / 2⌋`` pixels before its center. A hole that is not clipped covers
    exactly length² pixels, also if the length is odd.

    Args:
        centers: pixels ``(row, column)``, integers (N, n_holes, 2), in 0..H−1 and 0..W−1.
        length: side of a hole: pixels if an int; if a float in (0, 1), the share of the shorter side of the image,
            rounded, at least one pixel.
        size: ``(H, W)`` of the images.

    Returns:
        The holes ``(top, left, height, width)``, int64 of shape (N, n_holes, 4).

    Raises:
        TypeError: if the length is neither an int nor a float.
        ValueError: if a length in pixels is below 1, a share lies outside (0, 1), a hole can cover the whole image, or
            a center lies outside it.

    Example:
        >>> cutout_boxes([[[0, 4]]], length=3, size=(6, 8)).tolist()
        [[[0, 3, 2, 3]]]

    References:
        DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
        arXiv:1708.04552. The authors' code makes a hole of odd length one pixel shorter.
    """
    side = hole_side(length, size=size)
    return boxes_around(centers, length=side, size=size, owner="cutout_boxes", name="centers")


def hole_side(length: int | float, *, size: tuple[int, int]) -> int:
    """Returns the side of a hole in pixels, from the ``length`` and ``size`` of :func:`cutout_boxes`."""
    if isinstance(length, float):
        share = check_number("cutout_boxes", "a float length", length, above=0, below=1)
        side = max(1, round(share * min(size)))
    else:
        side = check_integer("cutout_boxes", "length", length, low=1)
    if side >= max(size):
        raise ValueError(
            f"cutout_boxes needs holes that cannot cover the whole image, but got holes of {side}×{side} pixels "
            f"for images of {size[0]}×{size[1]}."
        )
    return side


def cutout(images: Tensor, *, boxes: Tensor | np.ndarray, value: float | Sequence[float] = 0.0) -> Tensor:
    """Fills the holes of each image.

    Args:
        images: tensor of any dtype (N, …, H, W).
        boxes: integers (N, n_holes, 4), or (N, 4) for one hole per image, each ``(top, left, height, width)`` in
            pixels, on any device. What lies outside the image is cut off.
        value: what the holes are filled with, in the units of the images: a number, or one number per channel.

    Returns:
        A new tensor of the same shape, dtype, device and memory format.

    Raises:
        TypeError: if the boxes are not integers.
        RuntimeError: by torch, if ``images`` requires a gradient while gradients are on.
        ValueError: if ``images`` has fewer than three dimensions, the boxes have another shape, the values are not one
            per channel, or a value does not fit the images' dtype.

    Example:
        >>> import torch
        >>> cutout(torch.ones(1, 1, 2, 3), boxes=torch.tensor([[[0, 1, 1, 2]]]))[0, 0].tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]

    References:
        DeVries and Taylor, arXiv:1708.04552.
    """
    return erase(images, boxes=boxes, value=value, owner="cutout")
