"""What is written beside a picture: labels with their weights, and what a trick has drawn."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lightning_tricks.engine.fields import is_detection
from lightning_tricks.soft_target import SoftTarget

ClassNames = Sequence[str] | Mapping[int, str]

_LEAST_WEIGHT = 0.005  # a smaller one would be written as 0.00


def check_class_names(owner: str, class_names: object) -> ClassNames | None:
    """Returns the names if they are ``None``, a list or a mapping."""
    if class_names is None or (isinstance(class_names, (Sequence, Mapping)) and not isinstance(class_names, str)):
        return class_names
    raise TypeError(f"{owner} needs class_names to be a list of names or a mapping to names, but got {class_names!r}.")


def class_name(owner: str, class_names: ClassNames | None, label: int) -> str:
    """Returns the name of a class; labels below 0, which losses ignore, are written as numbers."""
    if class_names is None or label < 0:
        return str(label)
    if label in (class_names if isinstance(class_names, Mapping) else range(len(class_names))):
        return str(class_names[label])
    raise ValueError(
        f"{owner} needs class_names to have a name for each class, but got {len(class_names)} and none for label "
        f"{label}."
    )


def label_captions(target: Any, *, n: int, count: int, name_of: Callable[[int], str]) -> list[str]:
    """Returns what the first ``count`` of ``n`` images have as labels, the heaviest first, with their weights.

    Each of several targets has its line, and ``name_of`` names the classes of the first; a mask has none.
    """
    if is_detection(target):
        sizes = [len(entry["boxes"]) for entry in target[:count]]
        return ["1 box" if size == 1 else f"{size} boxes" for size in sizes]
    if isinstance(target, (Mapping, list, tuple)):
        entries = target.values() if isinstance(target, Mapping) else target
        several = [entry for entry in entries if _is_labels(entry, n)]
        if len(several) == n and several[0].ndim == 2:
            return [""] * count  # masks, one per image
        names: list[Callable[[int], str]] = [name_of, *[str] * len(several)]
        lines = [label_captions(it, n=n, count=count, name_of=name) for it, name in zip(several, names, strict=False)]
        return ["\n".join(filter(None, texts)) for texts in zip(*lines, strict=True)] or [""] * count
    if not _is_labels(target, n):
        return [""] * count
    if isinstance(target, SoftTarget):
        pairs = [(labels[:count].tolist(), weights[:count].tolist()) for labels, weights in target.components]
        return [
            _weighted([(labels[i], weights[i]) for labels, weights in pairs], name_of) + _extras(target)
            for i in range(min(count, n))
        ]
    values = target[:count].tolist()
    if target.ndim == 2:
        return [_weighted(enumerate(row), name_of) for row in values]
    return [f"{value:.2f}" if target.is_floating_point() else name_of(int(value)) for value in values]


def wrap(text: str, width: int) -> list[str]:
    """Breaks a caption into lines between its labels, and within a name where that alone is too long."""
    lines: list[str] = []
    for part in text.split(" · "):
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines += textwrap.wrap(part, width)
    return lines


def drawn(params: Any, image: int | None = None) -> list[str]:
    """Returns a line per parameter that holds for the whole batch, or per parameter of one image."""
    lines = []
    for name, value in params.caption().items():
        is_box = name in ("box", "boxes")
        is_per_image = isinstance(value, np.ndarray) and value.ndim > is_box
        if not _is_plain(value) or is_per_image != (image is not None):
            continue
        values = [value] if image is None else value[image].reshape(-1, 4) if is_box else [value[image]]
        lines += [_box(part) if is_box else f"{name} {_text(part)}" for part in values]
    return lines


def _is_labels(target: Any, n: int) -> bool:
    """Whether it is one class or number per image, or a row of probabilities per image."""
    if not isinstance(target, Tensor) or target.shape[:1] != (n,):
        return False
    return target.ndim == 1 or (target.ndim == 2 and target.is_floating_point() and not isinstance(target, SoftTarget))


def _is_plain(value: Any) -> bool:
    """Whether it consists of numbers; a trick of the user may draw anything."""
    if isinstance(value, (tuple, list)):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, (int, float, np.number, np.ndarray))


def _box(box: Any) -> str:
    """Returns a box as height × width at (top, left)."""
    top, left, height, width = box
    return f"box {height}×{width} at ({top}, {left})" if height and width else "no box"


def _text(value: Any) -> str:
    """Returns numbers as text, fractions to two digits."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_text, value))})"
    return f"{value:.2f}" if isinstance(value, (float, np.floating)) else str(value)


def _weighted(pairs: Iterable[tuple[int, float]], name_of: Callable[[int], str]) -> str:
    """Returns the four heaviest classes with their weights; those of equal classes are added up."""
    total: defaultdict[int, float] = defaultdict(float)
    for label, weight in pairs:
        total[label] += weight
    heaviest = sorted(total.items(), key=lambda pair: -pair[1])[:4]
    return " · ".join(f"{name_of(label)} {weight:.2f}" for label, weight in heaviest if abs(weight) >= _LEAST_WEIGHT)


def _extras(target: SoftTarget) -> str:
    """Returns the smoothing and the teachers that labels carry."""
    smoothing = f" · ε {target.label_smoothing:g}" if target.label_smoothing else ""
    return smoothing + "".join(f" · teacher T {temperature:g}" for temperature, _, _ in target.teachers)
