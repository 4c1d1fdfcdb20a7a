"""RICAP: four crops of partners, patched into one image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_tricks.functional._boxes import image_size
from lightning_tricks.functional._pairing import partner_slices, quadrant_weights, quadrants


def ricap(
    images: Tensor, *, boundary: tuple[int, int], offsets: Sequence[tuple[int, int]], shifts: Sequence[int]
) -> Tensor:
    """Fills the four quadrants of each image with crops of four partners.

    With ``(top, left, height, width)`` the q-th quadrant and ``(r, c) = offsets[q]``:
    ``result[i, …, top + y, left + x] = images[(i + shifts[q]) mod N, …, r + y, c + x]``.
    Where the boundary lies on the border of the image, quadrants are empty and their offset and shift unused.

    Args:
        images: tensor of any dtype (N, …, H, W): images (N, C, H, W), or masks (N, H, W) that are patched with them.
        boundary: ``(row, column)`` in pixels that divides the quadrants, in 0..H and 0..W.
        offsets: ``(top, left)`` in pixels of the crop of each quadrant in its partner, at most H − height and
            W − width, in the order top-left, top-right, bottom-left, bottom-right.
        shifts: distance from an image to its partner for each quadrant; 0 is the image itself.

    Returns:
        A new tensor of the same shape, dtype, device and memory format.

    Raises:
        ValueError: if ``images`` has fewer than three dimensions, the boundary lies outside the image, a crop reaches
            outside it, or there are not four offsets and four shifts.

    Example:
        >>> import torch
        >>> images = torch.arange(4).view(4, 1, 1).expand(4, 2, 3)
        >>> ricap(images, boundary=(1, 2), offsets=[(0, 0)] * 4, shifts=(0, 1, 2, 3))[0].tolist()
        [[0, 0, 1], [2, 2, 3]]

    References:
        Takahashi et al., "Data Augmentation using Random Image Cropping and Patching for Deep CNNs", arXiv:1811.09030.
        There a permutation of the batch draws each partner; here a shift.
    """
    full_height, full_width = size = image_size(images, owner="ricap")
    if len(offsets) != 4 or len(shifts) != 4:
        raise ValueError(f"ricap needs four offsets and four shifts, but got {len(offsets)} and {len(shifts)}.")
    patched = torch.empty_like(images)
    for box, offset, shift in zip(quadrants(boundary, size=size, owner="ricap"), offsets, shifts, strict=True):
        top, left, height, width = box
        row, column = (int(number) for number in offset)
        if height == 0 or width == 0:
            continue
        if not (0 <= row <= full_height - height and 0 <= column <= full_width - width):
            raise ValueError(
                f"ricap needs crops inside images of size {size}, but got one of size {(height, width)} at {offset}."
            )
        for own, partner in partner_slices(len(images), int(shift)):
            crop = images[partner][..., row : row + height, column : column + width]
            patched[own][..., top : top + height, left : left + width] = crop
    return patched


def ricap_weights(boundary: tuple[int, int], *, size: tuple[int, int]) -> tuple[float, ...]:
    """Returns the label weights of the four patches: their areas / (H · W).

    Args:
        boundary: ``(row, column)`` in pixels, as in :func:`ricap`.
        size: ``(H, W)`` of the images.

    Returns:
        Four numbers that add up to 1: top-left, top-right, bottom-left, bottom-right.

    Raises:
        ValueError: if the boundary lies outside the image.

    Example:
        >>> ricap_weights((1, 3), size=(4, 5))
        (0.15, 0.1, 0.45, 0.3)

    References:
        Takahashi et al., arXiv:1811.09030.
    """
    return quadrant_weights(boundary, size=size, owner="ricap_weights")
