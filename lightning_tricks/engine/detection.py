"""The per-image dictionaries of a detection batch: ``boxes`` (M, 4), ``labels`` (M,) and whatever goes along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.tv_tensors import TVTensor, wrap

from lightning_tricks.engine.fields import describe, set_at
from lightning_tricks.functional import mosaic, mosaic_boxes

_OF_THE_IMAGE = ("image_id", "size", "orig_size")
"""Entries that belong to the image, also where their length happens to be the number of boxes."""
_OF_THE_BOXES = ("boxes", "labels", "masks", "area", "iscrowd", "scores", "keypoints")
"""Entries that have one row per box wherever they are."""


def rows_of(targets: Sequence[Mapping[str, Any]]) -> list[dict[str, Tensor]]:
    """Returns of each image the entries with one row per box, as plain tensors.

    They are those whose first dimension is that of ``boxes``, in every image of the batch: what has one row in an
    image with one box may belong to the image.

    Args:
        targets: the dictionaries of a batch.

    Raises:
        TypeError: ``boxes``, ``labels`` or another known entry of the boxes is no tensor, and would be left behind.
        ValueError: ``boxes`` has not two dimensions, an entry has not one row per box, or some images lack an entry.
    """
    for target in targets:
        for name in _OF_THE_BOXES:
            if name in target and not isinstance(target[name], Tensor):
                raise TypeError(f"{name} need to be a tensor with one row per box, but got {describe(target[name])}")
        if target["boxes"].ndim != 2:
            raise ValueError(f"boxes need shape (M, 4), but got {describe(target)}")
        for name in _OF_THE_BOXES:
            if not _may_be_rows(target, name):
                raise ValueError(f"boxes (M, 4) and {name} (M, ...) need one row per box, but got {describe(target)}")
    names = dict.fromkeys(name for target in targets for name in target if name not in _OF_THE_IMAGE)
    row_names = [name for name in names if all(_may_be_rows(target, name) for target in targets)]
    for name in row_names:
        lacking = [list(target) for target in targets if name not in target]
        if lacking:
            raise ValueError(
                f"the dictionaries of a batch need the same entries with one row per box, but beside one with "
                f"{name!r} there is one with {lacking[0]}"
            )
    return [
        {
            name: target[name].as_subclass(Tensor) if isinstance(target[name], TVTensor) else target[name]
            for name in row_names
        }
        for target in targets
    ]


def _may_be_rows(target: Mapping[str, Any], name: str) -> bool:
    if name not in target:
        return True
    entry = target[name]
    return isinstance(entry, Tensor) and entry.ndim > 0 and len(entry) == len(target["boxes"])


def join_rows(own: Mapping[str, Any], parts: Sequence[Mapping[str, Tensor]]) -> Any:
    """Puts the boxes of several images into one dictionary.

    Args:
        own: the dictionary of the image; what is not one row per box stays as it is there, and so do tensor types.
        parts: the entries with one row per box of each image.

    Returns:
        A dictionary like ``own`` with new tensors.
    """
    for name in parts[0]:
        joined = torch.cat([part[name] for part in parts])
        old = own.get(name)
        own = set_at(own, (name,), wrap(joined, like=old) if isinstance(old, TVTensor) else joined)
    return own


def check_movable(targets: Sequence[Mapping[str, Any]], *, size: tuple[int, int]) -> None:
    """Raises for what cannot be moved into a quadrant.

    Args:
        targets: the dictionaries of a batch that :func:`rows_of` takes.
        size: ``(H, W)`` of the images.

    Raises:
        TypeError: boxes are not floating point.
        ValueError: boxes are of another format than xyxy, or masks not of the images' size.
    """
    for target in targets:
        layout = getattr(target["boxes"], "format", None)
        if layout is not None and layout.value != "XYXY":
            raise ValueError(f"boxes need the format XYXY, but got {layout.value}")
        if not target["boxes"].is_floating_point():
            raise TypeError(f"boxes need to be floating-point, but got {describe(target['boxes'])}")
        if "masks" in target and target["masks"].shape[1:] != size:
            raise ValueError(f"masks need the images' size {size}, but got {describe(target['masks'])}")


def mosaic_target(
    partners: Sequence[Mapping[str, Tensor]],
    *,
    own: Mapping[str, Any],
    center: tuple[int, int],
    size: tuple[int, int],
    min_box_size: float,
) -> Any:
    """Moves the boxes of four images into the quadrants of one, with all that goes along with them.

    Args:
        partners: the rows, one per box, of the images in the four quadrants.
        own: the dictionary of the image whose place the mosaic takes.
        center: ``(row, column)`` where the quadrants meet.
        size: ``(H, W)`` of the images.
        min_box_size: the least side in pixels of a box that is kept.

    Returns:
        A dictionary like ``own`` with new tensors.
    """
    parts = []
    for quadrant, rows in enumerate(partners):
        boxes, kept = mosaic_boxes(
            rows["boxes"], quadrant=quadrant, center=center, size=size, min_box_size=min_box_size
        )
        moved = {name: entry[kept] for name, entry in rows.items()} | {"boxes": boxes}
        if "masks" in rows:
            moved["masks"] = _in_quadrant(moved["masks"], quadrant, center, size)
        if "area" in rows:
            moved["area"] = (boxes[:, 2:] - boxes[:, :2]).prod(1).to(rows["area"].dtype)
        parts.append(moved)
    return join_rows(own, parts)


def _in_quadrant(masks: Tensor, quadrant: int, center: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Masks (M, H, W) resized into one quadrant, with nothing in the others."""
    both = torch.cat([masks, torch.zeros_like(masks)])
    empty = len(masks)
    shifts = [0 if quadrant == q else empty for q in range(4)]
    return mosaic(both, center=center, shifts=shifts, interpolation="nearest")[:empty]
