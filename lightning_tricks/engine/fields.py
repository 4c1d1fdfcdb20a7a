"""Where the images and the target stand in a batch, and how a copy of the batch with other ones is made.

A place is a path of keys into nested containers. Nothing here writes to a container that it was given.
"""

import copy
import dataclasses
from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

INPUT_NAMES = ("image", "images", "pixel_values", "input", "inputs", "x")
TARGET_NAMES = ("label", "labels", "target", "targets", "y")

Accessor = tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]
Key = int | str | tuple[Any, ...] | Accessor
Path = tuple[int | str, ...]


def describe(value: Any) -> str:
    """Says in one line what ``value`` is: shapes and dtypes, keys, types; never numbers."""
    if isinstance(value, Tensor):
        layout = "" if value.layout == torch.strided else f" of layout {value.layout}"
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{layout}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__}({', '.join(f'{key!r}: {describe(item)}' for key, item in value.items())})"
    if _names(value) is not None:
        return f"{type(value).__name__}({', '.join(f'{n}={describe(getattr(value, n))}' for n in _names(value) or ())})"
    if isinstance(value, (list, tuple)):
        shown = [describe(item) for item in value[:4]] + ["…"] * (len(value) > 4)
        return f"{type(value).__name__} of {len(value)} ({', '.join(shown)})"
    return type(value).__name__


def find_input(batch: Any) -> Path | None:
    """Returns the path of the images: item 0, or the one entry with one of :data:`INPUT_NAMES`; else ``None``."""
    if isinstance(batch, Tensor):
        return ()
    if is_plain_pair(batch):
        return (0,)
    found = _find_named(batch, INPUT_NAMES)
    if found is not None or _is_named(batch):
        return found
    if isinstance(batch, (list, tuple)) and batch:
        if isinstance(batch[0], Tensor) or (len(batch) > 1 and is_detection(batch[1])):
            return (0,)
        return _below(batch, 0, find_input) if len(batch) == 1 or _is_named(batch[0]) else None
    return None


def find_target(batch: Any) -> Path | None:
    """Returns the path of the target: item 1, or the one entry with one of :data:`TARGET_NAMES`; else ``None``.

    Where item 1 looks like the images and more items follow, nothing says which of them is the target.
    """
    if is_plain_pair(batch):
        return None if has_second_view(batch) else (1,)
    found = _find_named(batch, TARGET_NAMES)
    if found is not None or _is_named(batch):
        return found
    if isinstance(batch, (list, tuple)) and batch:
        inside = _below(batch, 0, find_target) if len(batch) == 1 or _is_named(batch[0]) else None
        return inside if inside is not None or len(batch) == 1 else (1,)
    return None


def is_only_images(batch: Any) -> bool:
    """Whether the batch holds one thing and nothing beside it, so that a missing target is no oversight."""
    if isinstance(batch, Tensor):
        return True
    entries = list(entries_of(batch))
    return len(entries) == 1 and is_only_images(entries[0][1])


def has_second_view(batch: Any) -> bool:
    """Whether item 1 of a batch with more items has the images' shape and dtype: it may be a view or a target."""
    if not is_plain_pair(batch) or len(batch) == 2 or not isinstance(batch[1], Tensor):
        return False
    return batch[0].ndim > 2 and (batch[1].shape, batch[1].dtype) == (batch[0].shape, batch[0].dtype)


def is_detection(target: Any) -> bool:
    """Whether this is a list of dictionaries with boxes, one per image."""
    return (
        isinstance(target, (list, tuple))
        and len(target) > 0
        and all(isinstance(entry, Mapping) and "boxes" in entry for entry in target)
    )


def get_at(batch: Any, key: Key) -> Any:
    """Returns what stands at ``key``.

    Raises:
        LookupError: ``key`` is not in the batch.
    """
    if is_accessor(key):
        getter, _ = key
        return getter(batch)
    for step in as_path(key):
        try:
            batch = getattr(batch, step) if isinstance(step, str) and not isinstance(batch, Mapping) else batch[step]
        except (AttributeError, LookupError, TypeError) as error:
            raise LookupError(f"{step!r} is not in {describe(batch)}") from error
    return batch


def is_in(batch: Any, key: Key) -> bool:
    """Whether something stands at ``key``."""
    try:
        get_at(batch, key)
    except LookupError:
        return False
    return True


def set_at(batch: Any, key: Key, value: Any) -> Any:
    """Returns a copy of ``batch`` with ``value`` at ``key``; the containers on the way are copied, the rest is shared.

    Raises:
        TypeError: a container on the way cannot be copied with one entry changed.
    """
    if is_accessor(key):
        _, setter = key
        return setter(batch, value)
    path = as_path(key)
    if not path:
        return value
    step, rest = path[0], path[1:]
    return _replaced(batch, step, set_at(get_at(batch, step), rest, value) if rest else value)


def is_plain_pair(batch: Any) -> bool:
    """The commonest batch, recognised first because looking for names takes longer than Mixup of a small batch."""
    return type(batch) in (list, tuple) and len(batch) > 1 and isinstance(batch[0], Tensor)


def as_keys(keys: list[Key] | Key | None) -> list[Any]:
    """Returns the keys as a list."""
    return keys if isinstance(keys, list) else [] if keys is None else [keys]


def is_accessor(key: Any) -> TypeGuard[Accessor]:
    """Whether the key is a (getter, setter) pair."""
    return isinstance(key, tuple) and len(key) == 2 and callable(key[0]) and callable(key[1])


def as_path(key: Any) -> Path:
    """Returns the key as a path; it is no accessor."""
    return key if isinstance(key, tuple) else (key,)


def normal_path(batch: Any, path: Path) -> Path:
    """The path in the keys of :func:`entries_of`: no negative index, and the names of a namedtuple."""
    normal: Path = ()
    for step in path:
        entries = entries_of(batch)
        try:
            batch = get_at(batch, step)
        except LookupError:
            return (*normal, step)
        if isinstance(step, int) and step not in dict(entries) and entries:
            step = entries[step][0]
        normal = (*normal, step)
    return normal


def _names(value: Any) -> tuple[str, ...] | None:
    """The field names of a dataclass or a namedtuple."""
    if isinstance(value, tuple):
        return getattr(value, "_fields", None)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(field.name for field in dataclasses.fields(value))
    return None


def _is_named(value: Any) -> bool:
    """Whether entries have names and no order that means anything; a namedtuple has both."""
    return isinstance(value, Mapping) or (_names(value) is not None and not isinstance(value, tuple))


def entries_of(batch: Any) -> list[tuple[Any, Any]]:
    """Returns keys and values of a mapping, dataclass, namedtuple, list or tuple; of anything else, nothing."""
    if isinstance(batch, Mapping):
        return list(batch.items())
    if (names := _names(batch)) is not None:
        return [(name, getattr(batch, name)) for name in names]
    if isinstance(batch, (list, tuple)):
        return list(enumerate(batch))
    return []


def tensors_in(value: Any) -> list[Tensor]:
    """Returns the tensors in nested containers."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for _, entry in entries_of(value) for tensor in tensors_in(entry)]


def _find_named(batch: Any, names: Sequence[str]) -> Path | None:
    """The one entry that has one of the names, in the batch or, where it has none, in its named children."""
    if not isinstance(batch, Mapping) and _names(batch) is None:
        return None
    entries = dict(entries_of(batch))
    present = [name for name in names if name in entries]
    if present:
        return (present[0],) if len(present) == 1 else None
    below = [(key, *path) for key, value in entries.items() if (path := _find_named(value, names)) is not None]
    return below[0] if len(below) == 1 else None


def _below(batch: Any, step: int, find: Callable[[Any], Path | None]) -> Path | None:
    path = find(batch[step])
    return None if path is None else (step, *path)


def _replaced(batch: Any, step: int | str, value: Any) -> Any:
    if type(batch) is tuple and isinstance(step, int):
        items = list(batch)
        items[step] = value
        return tuple(items)
    if isinstance(batch, (list, dict, UserDict)):
        changed: Any = copy.copy(batch)
        changed[step] = value
        return changed
    if isinstance(batch, Mapping):
        return type(batch)({**batch, step: value})  # type: ignore[call-arg]
    if isinstance(batch, tuple):
        names = _names(batch)
        position = names.index(step) if names is not None and isinstance(step, str) else range(len(batch))[step]  # type: ignore[index]
        items = [value if i == position else item for i, item in enumerate(batch)]
        return type(batch)._make(items) if names is not None else type(batch)(items)  # type: ignore[attr-defined]
    if isinstance(step, str):
        changed = copy.copy(batch)
        set_attribute = object.__setattr__ if dataclasses.is_dataclass(batch) else setattr  # the former if frozen too
        set_attribute(changed, step, value)
        return changed
    raise TypeError(f"an entry of {describe(batch)} cannot be replaced; pass a (getter, setter) pair as the key")
