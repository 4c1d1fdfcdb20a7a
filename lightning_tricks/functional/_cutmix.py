"""CutMix: a box of each image replaced by the same box of its partner."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lightning_tricks.functional._boxes import box_mask, boxes_around, image_size
from lightning_tricks.functional._pairing import partner_slices


def cutmix_box(area_share: ArrayLike, *, center: ArrayLike, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Places boxes of a given area share and clips them at the image's border.

    A box has the image's aspect ratio, ``round(H·√share)`` by ``round(W·√share)`` pixels, and begins half its length
    (rounded down) before its center. λ is computed from the pixels left after clipping:
    ``lam = 1 − height · width / (H · W)``. Share 0 gives a box without area and λ = 1.

    Args:
        area_share: share of the image's area before clipping, in [0, 1]; a number or an array (…).
        center: pixel ``(row, column)`` of the center, integers (…, 2), in 0..H−1 and 0..W−1.
        size: ``(H, W)`` of the images.

    Returns:
        The boxes ``(top, left, height, width)``, int64 of shape (…, 4), and λ, the weight of the original image,
        float64 of shape (…).

    Raises:
        ValueError: if a share lies outside [0, 1], or a center outside the image.

    Example:
        >>> boxes, lam = cutmix_box(0.25, center=(0, 8), size=(8, 12))
        >>> boxes.tolist(), float(lam)
        ([0, 5, 2, 6], 0.875)

    References:
        Yun et al., "CutMix", arXiv:1905.04899. The authors' code makes a box of odd length one pixel shorter; here it
        keeps its length.
    """
    share = np.asarray(area_share, np.float64)
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"cutmix_box needs area_share to be in [0, 1], but got {share}.")
    length = np.rint(size * np.sqrt(share)[..., None]).astype(np.int64)
    boxes = boxes_around(center, length=length, size=size, owner="cutmix_box", name="center")
    return boxes, 1.0 - boxes[..., 2] * boxes[..., 3] / (size[0] * size[1])


def cutmix(images: Tensor, *, box: Sequence[int] | np.ndarray | Tensor, shift: int = 1) -> Tensor:
    """Puts the partner's pixels inside a box of each image.

    ``result[i] = images[(i + shift) mod N]`` inside the box of image i, and ``images[i]`` outside. Where every image is
    its own partner (N ≤ 1, or ``shift`` a multiple of N) the images are returned unchanged.

    Args:
        images: tensor of any dtype (N, …, H, W): images (N, C, H, W), or masks (N, H, W) that are cut with them.
        box: ``(top, left, height, width)`` in pixels: four integers for the whole batch, or an integer tensor or array
            (N, 4), one box per image, on any device. The values of a tensor are not checked, since that would read them
            back: what lies outside the image is cut off.
        shift: distance from an image to its partner.

    Returns:
        A new tensor of the same shape, dtype, device and memory format; ``images`` itself if nothing is mixed.

    Raises:
        TypeError: if the boxes are not integers.
        ValueError: if ``images`` has fewer than three dimensions, the boxes have another shape, or the one box of the
            batch does not lie inside the images.
        RuntimeError: by torch, if ``images`` requires a gradient while gradients are on, with one box per image.

    Example:
        >>> import torch
        >>> images = torch.arange(2).view(2, 1, 1, 1).expand(2, 1, 2, 3)
        >>> cutmix(images, box=(0, 1, 1, 2))[0, 0].tolist()
        [[0, 1, 1], [0, 0, 0]]

    References:
        Yun et al., "CutMix", arXiv:1905.04899.
    """
    n = len(images)
    if isinstance(box, Tensor) or (isinstance(box, np.ndarray) and box.ndim == 2):
        mask = box_mask(box, images=images, owner="cutmix")
        if n == 0 or shift % n == 0:
            return images
        mixed = torch.empty_like(images)
        for own, partner in partner_slices(n, shift):
            torch.where(mask[own], images[partner], images[own], out=mixed[own])
        return mixed

    rows, columns = _box_slices(box, images)
    if n == 0 or shift % n == 0:
        return images
    mixed = torch.empty_like(images).copy_(images)
    for own, partner in partner_slices(n, shift):
        mixed[own][..., rows, columns] = images[partner][..., rows, columns]
    return mixed


def _box_slices(box: Sequence[int] | np.ndarray, images: Tensor) -> tuple[slice, slice]:
    """Returns the rows and the columns of a box that lies inside the images."""
    full_height, full_width = size = image_size(images, owner="cutmix")
    if np.shape(box) != (4,):
        raise ValueError(f"cutmix needs box to be (top, left, height, width), but got {box}.")
    if np.asarray(box).dtype.kind not in "iu":
        raise TypeError(f"cutmix needs boxes of integers, but got {box}.")
    top, left, height, width = (int(number) for number in box)
    if min(top, left, height, width) < 0 or top + height > full_height or left + width > full_width:
        raise ValueError(f"cutmix needs box to be inside images of size {size}, but got {box}.")
    return slice(top, top + height), slice(left, left + width)
