"""Mosaic: four whole partners, each resized to one quadrant of an image."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_tricks.functional._boxes import image_size
from lightning_tricks.functional._pairing import partner_slices, quadrant_weights, quadrants
from lightning_tricks.functional.checks import check_choice

Interpolation: TypeAlias = Literal["bilinear", "nearest"]


def mosaic(
    images: Tensor,
    *,
    center: tuple[int, int],
    shifts: Sequence[int],
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Shows four whole partners in the four quadrants of each image.

    Quadrant q of image i shows image (i + shifts[q]) mod N, resized. Where the center lies on the border of the image,
    quadrants are empty and their shift unused.

    Args:
        images: tensor (N, …, H, W): images (N, C, H, W), or masks (N, H, W) that are patched with them. ``"bilinear"``
            takes floating-point and uint8 images, ``"nearest"`` any dtype.
        center: ``(row, column)`` in pixels where the quadrants meet, in 0..H and 0..W.
        shifts: distance from an image to its partner for each quadrant, in the order top-left, top-right, bottom-left,
            bottom-right; 0 is the image itself.
        interpolation: ``"bilinear"`` with antialiasing, computed in float32 below it and rounded to the nearest value;
            ``"nearest"`` copies the pixel under the center of the new one, for masks and other labels.

    Returns:
        A new tensor of the same shape, dtype, device and memory format.

    Raises:
        TypeError: if ``"bilinear"`` gets integers other than uint8, or the interpolation is not a string.
        ValueError: if ``images`` has fewer than three dimensions, the center lies outside the image, there are not four
            shifts, or the interpolation is unknown.

    Example:
        >>> import torch
        >>> images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 3)
        >>> mosaic(images, center=(1, 2), shifts=(0, 1, 2, 3))[0, 0].tolist()
        [[0.0, 0.0, 1.0], [2.0, 2.0, 3.0]]

    References:
        After Bochkovskiy et al., "YOLOv4", arXiv:2004.10934, which crops its four images; here they are shown whole;
        :func:`~lightning_tricks.functional.ricap` crops.
    """
    size = image_size(images, owner="mosaic")
    if len(shifts) != 4:
        raise ValueError(f"mosaic needs four shifts, but got {len(shifts)}.")
    check_choice("mosaic", "interpolation", interpolation, get_args(Interpolation))
    if interpolation == "bilinear" and not (images.is_floating_point() or images.dtype == torch.uint8):
        raise TypeError(
            f"mosaic needs floating-point or uint8 images for interpolation='bilinear', but got {images.dtype}."
        )
    resize, source = _nearest, images
    if interpolation == "bilinear":
        # Half precision would round the filter's weights, and on the CPU torch has no antialiasing for it.
        resize, source = _bilinear, images.to(torch.promote_types(images.dtype, torch.float32))
    patched = torch.empty_like(images)
    boxes = quadrants(center, size=size, owner="mosaic")
    for (top, left, height, width), shift in zip(boxes, shifts, strict=True):
        if len(images) == 0 or height == 0 or width == 0:
            continue
        small = resize(source, height, width)
        if resize is _bilinear and images.dtype == torch.uint8:
            small = small.round_()
        for own, partner in partner_slices(len(images), int(shift)):
            patched[own][..., top : top + height, left : left + width] = small[partner]
    return patched


def mosaic_weights(center: tuple[int, int], *, size: tuple[int, int]) -> tuple[float, ...]:
    """Returns the label weights of the four quadrants: their areas / (H · W).

    Args:
        center: ``(row, column)`` in pixels, as in :func:`mosaic`.
        size: ``(H, W)`` of the images.

    Returns:
        Four numbers that add up to 1: top-left, top-right, bottom-left, bottom-right.

    Raises:
        ValueError: if the center lies outside the image.

    Example:
        >>> mosaic_weights((1, 3), size=(4, 5))
        (0.15, 0.1, 0.45, 0.3)
    """
    return quadrant_weights(center, size=size, owner="mosaic_weights")


def mosaic_boxes(
    boxes: Tensor, *, quadrant: int, center: tuple[int, int], size: tuple[int, int], min_box_size: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Moves the boxes of one image into the quadrant where a mosaic shows it.

    They are scaled by ``width / W`` and ``height / H`` of the quadrant and shifted by its corner. Boxes less than
    ``min_box_size`` pixels wide or high are dropped; none may be left.

    Args:
        boxes: corners ``(x1, y1, x2, y2)`` in pixels, floating point of shape (M, 4); M may be 0.
        quadrant: 0 top-left, 1 top-right, 2 bottom-left, 3 bottom-right.
        center: ``(row, column)`` in pixels, as in :func:`mosaic`.
        size: ``(H, W)`` of the images.
        min_box_size: least width and height in pixels of a box that is kept.

    Returns:
        The kept boxes, a new tensor (M', 4) of the same dtype, and the bool mask (M,) that selects them and their
        labels.

    Raises:
        TypeError: if ``boxes`` is not floating point.
        ValueError: if ``boxes`` is not of shape (M, 4), the quadrant is not one of the four, or the center lies outside
            the image.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 8.0, 2.0]])
        >>> moved, kept = mosaic_boxes(boxes, quadrant=1, center=(4, 4), size=(8, 8))
        >>> moved.tolist(), kept.tolist()
        ([[4.0, 0.0, 6.0, 2.0]], [True, False])
    """
    if not boxes.is_floating_point():
        raise TypeError(f"mosaic_boxes needs floating-point boxes, but got {boxes.dtype}.")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"mosaic_boxes needs boxes of shape (M, 4), but got shape {tuple(boxes.shape)}.")
    if quadrant not in range(4):
        raise ValueError(f"mosaic_boxes needs quadrant to be 0, 1, 2 or 3, but got {quadrant}.")
    top, left, height, width = quadrants(center, size=size, owner="mosaic_boxes")[quadrant]
    scale = boxes.new_tensor([width / size[1], height / size[0]] * 2)
    moved = boxes * scale + boxes.new_tensor([left, top] * 2)
    kept = (moved[:, 2:] - moved[:, :2] >= min_box_size).all(dim=1)
    return moved[kept], kept


def _bilinear(images: Tensor, height: int, width: int) -> Tensor:
    """Resizes images (N, …, H, W) with antialiasing."""
    if width == 1 < height:
        # torch 2.14 repeats the first row of an antialiased result that is one pixel wide; its columns are correct.
        return _bilinear(images.mT, width, height).mT
    if images.ndim == 4:
        return F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    planes = images.reshape(len(images), -1, *images.shape[-2:])
    return _bilinear(planes, height, width).reshape(*images.shape[:-2], height, width)


def _nearest(images: Tensor, height: int, width: int) -> Tensor:
    """Resizes images (N, …, H, W) by copying pixels."""
    rows = _middles(images.shape[-2], height, images.device)
    columns = _middles(images.shape[-1], width, images.device)
    return images[..., rows[:, None], columns]


def _middles(old: int, new: int, device: torch.device) -> Tensor:
    """Returns the old pixels under the centers of the new ones: ⌊(i + ½) · old / new⌋."""
    return (torch.arange(new, device=device) * 2 + 1) * old // (2 * new)
