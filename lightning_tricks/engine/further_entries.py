"""What stands in a batch beside the images and the target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, KeyPoints, Mask

from lightning_tricks.engine.fields import (
    Key,
    Path,
    as_path,
    describe,
    entries_of,
    get_at,
    is_accessor,
    is_plain_pair,
    normal_path,
    tensors_in,
)


@dataclasses.dataclass(frozen=True)
class FurtherEntry:
    """A tensor beside the images and the target, or a list with one item per image that holds tensors.

    Attributes:
        path: where it stands.
        value: the tensor or the list.
        tensors: the tensor, or those in the list.
    """

    path: Path
    value: Any
    tensors: list[Tensor]

    def moves_with(self, images: Tensor) -> bool:
        """Whether it has the images' height and width, or holds boxes, masks or keypoints of its type."""
        of_one_image = not isinstance(self.value, Tensor)
        return any(
            isinstance(tensor, (BoundingBoxes, KeyPoints, Mask))
            or (tensor.ndim >= 3 - of_one_image and images.shape[-2:] in (tensor.shape[-2:], tensor.shape[1:3]))
            for tensor in self.tensors
        )

    def __str__(self) -> str:
        return f"{shown([self.path])[1:-1]} ({describe(self.value)})"


def remark_on(found: Sequence[tuple[str, tuple[list[Key], list[FurtherEntry]]]]) -> str | None:
    """Says what tricks leave alone, and how to include it; ``None`` for nothing.

    Args:
        found: the name of each trick, where it found the target, and what it leaves alone.
    """
    names = dict.fromkeys(name for name, (_, entries) in found if entries)
    if not names:
        return None
    target_keys = next(keys for _, (keys, entries) in found if entries)
    entries = list({entry.path: entry for _, (_, entries) in found for entry in entries}.values())
    paths = [entry.path for entry in entries]
    target = f"target at {shown(target_keys)}" if target_keys else "images"
    stack = " (as one tensor)" if any(not isinstance(entry.value, Tensor) for entry in entries) else ""
    return (
        f"{' and '.join(names)} takes the {target} and leaves alone what stands beside it: "
        f"{', '.join(map(str, entries))}; to include it{stack}, pass target_key={shown([*target_keys, *paths])}, or "
        f"its key alone where it is the target; if it is to stay as it is, pass ignore_keys={shown(paths)}"
    )


def shown(keys: Sequence[Key]) -> str:
    """The keys as a user writes them."""
    plain = [key[0] if isinstance(key, tuple) and len(key) == 1 else key for key in keys]
    return f"[{', '.join('(getter, setter)' if is_accessor(key) else repr(key) for key in plain)}]"


def further_entries(batch: Any, taken: Sequence[Key], *, n: int) -> list[FurtherEntry]:
    """Returns the entries with one row or one item for each of the ``n`` images that stand at no key of ``taken``.

    Where a getter returns what is not in the batch, nothing tells what it was made of, and no entry is returned.
    """
    if is_plain_pair(batch) and len(batch) == 2 and list(taken) == [(0,), (1,)]:
        return []
    made = [get_at(batch, key) for key in taken if is_accessor(key)]
    paths = {normal_path(batch, as_path(key)) for key in taken if not is_accessor(key)}
    everything = dict(_walk(batch, (), paths))
    if not all(any(value is entry for entry in everything.values()) for value in made):
        return []
    paths |= {path for path, entry in everything.items() if any(value is entry for value in made)}
    further = []
    for path, value in everything.items():
        if any(path[: len(outer)] == outer for outer in paths):
            continue
        is_list = type(value) in (list, tuple) and not any(inner[: len(path)] == path for inner in paths)
        length = value.shape[:1] if isinstance(value, Tensor) else (len(value),) if is_list else ()
        if length == (n,) and (tensors := tensors_in(value)):
            further.append(FurtherEntry(path, value, tensors))
            paths.add(path)
    return further


def _walk(value: Any, path: Path, known: Any) -> Iterator[tuple[Path, Any]]:
    """Yields every entry with its path, containers before what they hold."""
    yield path, value
    if isinstance(value, Tensor):
        return
    entries = entries_of(value)
    if not entries and any(path == inner[: len(path)] != inner for inner in known):
        entries = list(vars(value).items()) if hasattr(value, "__dict__") else []
    for key, entry in entries:
        yield from _walk(entry, (*path, key), known)
