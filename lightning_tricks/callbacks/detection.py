"""The per-image dictionaries of a detection batch: ``boxes`` (M, 4), ``labels`` (M,) and whatever goes along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.tv_tensors import TVTensor, wrap

from lightning_tricks.callbacks.batch_fields import set_at

_OF_THE_IMAGE = ("image_id", "size", "orig_size")
"""Entries that belong to the image, also where their length happens to be the number of boxes."""


def along_with_boxes(target: Mapping[str, Any]) -> list[str]:
    """Names the entries with one row a box: tensors whose first dimension is that of ``boxes``."""
    count = len(target["boxes"])
    return [
        name
        for name, entry in target.items()
        if isinstance(entry, Tensor) and entry.ndim > 0 and len(entry) == count and name not in _OF_THE_IMAGE
    ]


def change_rows(target: Mapping[str, Any], change: Callable[[str, Tensor], Tensor]) -> dict[str, Any]:
    """Returns the entries with one row a box, changed, their tensor types kept."""
    rows = {}
    for name in along_with_boxes(target):
        old = target[name]
        new = change(name, old.as_subclass(Tensor) if isinstance(old, TVTensor) else old)
        rows[name] = wrap(new, like=old) if isinstance(old, TVTensor) else new
    return rows


def join_targets(targets: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]] | None = None) -> Any:
    """Puts the boxes of several images into one dictionary.

    Args:
        targets: the dictionaries; what is not one row a box comes from the first.
        rows: for each, the entries with one row a box, where they were changed.

    Returns:
        A dictionary like the first of ``targets``, with new tensors.

    Raises:
        ValueError: the dictionaries differ in the entries that go along with their boxes.
    """
    rows = [change_rows(target, lambda _, entry: entry) for target in targets] if rows is None else rows
    joined = targets[0]
    for name, first in rows[0].items():
        if any(name not in other for other in rows):
            raise ValueError(
                f"the dictionaries of a batch need the same entries, one row a box, but {name!r} is one in some of "
                "them only"
            )
        both = torch.cat([other[name] for other in rows])
        joined = set_at(joined, (name,), wrap(both, like=first) if isinstance(first, TVTensor) else both)
    return joined
