"""Where a batch has its images, its targets and what else belongs to them; a batch is searched once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, KeyPoints, Mask, TVTensor, wrap

from lightning_tricks.engine.fields import (
    INPUT_NAMES,
    TARGET_NAMES,
    Key,
    Path,
    as_keys,
    as_path,
    describe,
    entries_of,
    find_input,
    find_target,
    get_at,
    has_second_view,
    is_accessor,
    is_detection,
    is_in,
    is_only_images,
    is_plain_pair,
    normal_path,
    set_at,
    tensors_in,
)
from lightning_tricks.functional.checks import named


@dataclasses.dataclass(frozen=True)
class Located:
    """A batch whose images and targets have been found.

    Attributes:
        owner: the name of the trick that asks.
        batch: as ``training_step`` would receive it.
        input_key: where the images are.
        target_keys: where the targets are; none for a batch without.
        ignored: where the user has said that things stay as they are.
        within: where the user has pointed into one of several batches, as several loaders give; the others have images
            of their own.
    """

    owner: str
    batch: Any
    input_key: Any
    target_keys: list[Any]
    ignored: list[Any]
    within: Path = ()

    @cached_property
    def images(self) -> Tensor:
        """The images as one tensor (N, …).

        Raises:
            TypeError: they are no tensors.
            ValueError: they are a list of tensors of several sizes.
        """
        given = get_at(self.batch, self.input_key)
        if isinstance(given, TVTensor):
            return given.as_subclass(Tensor)
        if isinstance(given, Tensor) and given.layout == torch.strided:
            return given
        if isinstance(given, (list, tuple)) and given and all(isinstance(image, Tensor) for image in given):
            if any(image.shape != given[0].shape for image in given):
                raise ValueError(f"{self.owner} needs images of one size, but got {describe(given)}")
            return torch.stack([image.as_subclass(Tensor) for image in given])
        raise TypeError(f"{self.owner} needs images as one tensor, but got {describe(given)} in {describe(self.batch)}")

    @cached_property
    def target(self) -> Any:
        """The target, a list of several, or ``None``."""
        targets = [get_at(self.batch, key) for key in self.target_keys]
        if len(targets) > 1 and any(map(is_detection, targets)):
            raise TypeError(f"{self.owner} needs a detection target to be its one target, but got {describe(targets)}")
        return targets if len(targets) > 1 else targets[0] if targets else None

    @cached_property
    def further(self) -> list[FurtherEntry]:
        """What else belongs to the images; the user has not said that it stays as it is."""
        images = get_at(self.batch, self.input_key)
        if not isinstance(images, (Tensor, list, tuple)) or (isinstance(images, Tensor) and images.ndim == 0):
            return []
        further = _further_entries(self.batch, [self.input_key, *self.target_keys, *self.ignored], n=len(images))
        return [entry for entry in further if entry.path[: len(self.within)] == self.within]

    def replaced(self, images: Tensor, target: Any) -> Any:
        """Returns the batch with other images and another target; what was not replaced is shared with it."""
        batch = self.batch
        with named(self.owner):
            if images is not self.images:
                batch = set_at(batch, self.input_key, _as_given(get_at(batch, self.input_key), images))
            if target is not self.target:
                targets = target if len(self.target_keys) > 1 else [target]
                for key, new in zip(self.target_keys, targets, strict=True):
                    batch = set_at(batch, key, new)
        return batch


def locate(
    owner: str,
    batch: Any,
    *,
    input_key: Key | None = None,
    target_key: list[Key] | Key | None = None,
    ignore_keys: list[Key] | Key | None = None,
    uses_target: bool = True,
) -> Located:
    """Finds images and targets where the user has said that they are, or where they usually are.

    Raises:
        TypeError: the batch is ``None``.
        ValueError: images or target are not found, or are found in the same place.
    """
    if batch is None:
        raise TypeError(f"{owner} needs a batch, but got None")
    several = isinstance(target_key, list)
    input_path = _find(owner, "input", input_key, batch)
    if input_path is None:
        raise _not_found(owner, "input", batch)
    found = [_find(owner, "target", key, batch, several=several) for key in as_keys(target_key) or [None]]
    if found == [None] and not (is_only_images(batch) or not (uses_target or has_second_view(batch))):
        raise _not_found(owner, "target", batch)
    ignored = [key for key in as_keys(ignore_keys) if is_in(batch, key)]
    if target_key is None and found[0] in [normal_path(batch, as_path(key)) for key in ignored if not is_accessor(key)]:
        found = [None]
    target_keys = [key for key in found if key is not None]
    if input_path in target_keys:
        raise ValueError(f"{owner} found its images and its target in the same place, {input_path!r}")
    pointed = isinstance(input_key, tuple) and len(input_key) > 1 and not is_accessor(input_key)
    paths = [as_path(key) for key in target_keys]
    inside = pointed and all(len(path) > 1 and path[0] == input_path[0] for path in paths)
    return Located(owner, batch, input_path, target_keys, ignored, within=input_path[:1] if inside else ())


def _find(owner: str, what: str, key: Key | None, batch: Any, *, several: bool = False) -> Any:
    """Where the user has said that it is, or where it usually is; ``None`` for nowhere."""
    if key is None:
        return find_input(batch) if what == "input" else find_target(batch)
    try:
        get_at(batch, key)
    except LookupError as error:
        hint = "; a path is a tuple (in YAML a list in a list)" if several else ""
        raise ValueError(f"{owner} was told {what}_key={key!r}, but {error.args[0]}{hint}") from error
    return key


def _not_found(owner: str, what: str, batch: Any) -> ValueError:
    names = INPUT_NAMES if what == "input" else TARGET_NAMES
    seen = f", whose keys are {list(batch)}" if isinstance(batch, Mapping) else ""
    return ValueError(
        f"{owner} needs to know where the {what} is: it looks at item {int(what == 'target')} or for one "
        f"of {', '.join(names)}, but got {describe(batch)}{seen}; pass {what}_key="
    )


def _as_given(given: Any, images: Tensor) -> Any:
    """Images as they were given: of the same tensor type, or as a list of tensors."""
    if isinstance(given, TVTensor):
        return wrap(images, like=given)
    if isinstance(given, (list, tuple)):
        return type(given)(
            wrap(image, like=old) if isinstance(old, TVTensor) else image
            for image, old in zip(images.unbind(), given, strict=True)
        )
    return images


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


def remark_on(found: Sequence[tuple[str, list[Key], list[FurtherEntry]]]) -> str | None:
    """Says what tricks leave alone, and how to include it; ``None`` for nothing.

    Args:
        found: the name of each trick, where it found the target, and what it leaves alone.
    """
    found = [(name, keys, entries) for name, keys, entries in found if entries]
    if not found:
        return None
    names = dict.fromkeys(name for name, _, _ in found)
    target_keys = found[0][1]
    entries = list({entry.path: entry for _, _, entries in found for entry in entries}.values())
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


def _further_entries(batch: Any, taken: Sequence[Key], *, n: int) -> list[FurtherEntry]:
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
