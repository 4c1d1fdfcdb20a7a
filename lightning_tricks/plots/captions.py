"""What is written beside a picture: labels with their weights, and what a trick has drawn."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lightning_tricks.engine.fields import is_detection
from lightning_tricks.soft_target import SoftTarget

ClassNames = Sequence[str] | Mapping[int, str]

_LEAST_WEIGHT = 0.005  # what would round to 0.00


def check_class_names(owner: str, class_names: object) -> ClassNames | None:
    """Returns the names if there are none, or one for each class.

    Raises:
        TypeError: they are neither a list nor a mapping.
    """
    if class_names is None or (isinstance(class_names, (Sequence, Mapping)) and not isinstance(class_names, str)):
        return class_names
    raise TypeError(f"{owner} needs class_names to be a list of names or a mapping to names, but got {class_names!r}")


def name_of(label: int, class_names: ClassNames | None) -> str:
    """Returns the name of a class; labels below 0, which are ignored in losses, have none but their number.

    Raises:
        ValueError: there are names, but none for this class.
    """
    if class_names is None or label < 0:
        return str(label)
    if isinstance(class_names, Mapping):
        if label in class_names:
            return str(class_names[label])
    elif label < len(class_names):
        return str(class_names[label])
    raise ValueError(f"class_names needs a name for each class, but has {len(class_names)} and none for label {label}")


def label_captions(target: Any, *, count: int, class_names: ClassNames | None) -> list[str]:
    """Returns a line for each of the first ``count`` images: its classes, the heaviest first, with their weights.

    Targets that no line can tell, such as masks, get none.
    """
    if is_detection(target):
        return [_number_of_boxes(len(entry["boxes"])) for entry in target[:count]]
    if isinstance(target, SoftTarget) and target.ndim == 1:
        pairs = [(labels[:count].tolist(), weights[:count].tolist()) for labels, weights in target.components]
        return [
            _weighted([(labels[i], weights[i]) for labels, weights in pairs], class_names) + _extras(target)
            for i in range(min(count, len(target)))
        ]
    if not isinstance(target, Tensor) or isinstance(target, SoftTarget):
        return [""] * count
    if target.ndim == 1 and not target.is_floating_point():
        return [name_of(int(label), class_names) for label in target[:count].tolist()]
    if target.ndim == 1:
        return [f"{value:.2f}" for value in target[:count].tolist()]
    if target.ndim == 2 and target.is_floating_point():
        return [_weighted(list(enumerate(row)), class_names) for row in target[:count].tolist()]
    return [""] * count


def wrap(text: str, width: int) -> list[str]:
    """Breaks a caption into lines between its labels, and within a name where that alone is too long."""
    lines: list[str] = []
    for part in text.split(" · "):
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines += textwrap.wrap(part, width)
    return lines


def drawn_for_batch(params: Any) -> list[str]:
    """Returns a line for each parameter that holds for the whole batch; a box is height × width at (top, left)."""
    return [_line(name, value) for name, value in _fields(params) if not _is_per_image(name, value)]


def drawn_for_image(params: Any, i: int) -> list[str]:
    """Returns a line for each parameter of which image ``i`` has one of its own."""
    lines = []
    for name, value in _fields(params):
        if _is_per_image(name, value):
            parts = value[i].reshape(-1, 4) if _is_box(name) else [value[i]]
            lines += [_line(name, part) for part in parts]
    return lines


def _number_of_boxes(count: int) -> str:
    return "1 box" if count == 1 else f"{count} boxes"


def _fields(params: Any) -> list[tuple[str, Any]]:
    caption = {} if params is None else params.caption()
    return [(name, value) for name, value in caption.items() if _is_plain(value)]


def _is_plain(value: Any) -> bool:
    """Whether it consists of numbers; a trick of the user's own may draw anything."""
    if isinstance(value, (tuple, list)):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, (int, float, np.number, np.ndarray))


def _is_box(name: str) -> bool:
    return name in ("box", "boxes")


def _is_per_image(name: str, value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > _is_box(name)


def _line(name: str, value: Any) -> str:
    if not _is_box(name):
        return f"{name} {_text(value)}"
    top, left, height, width = value
    return f"box {height}×{width} at ({top}, {left})" if height and width else "no box"


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_text, value))})"
    return f"{value:.2f}" if isinstance(value, (float, np.floating)) else str(value)


def _weighted(pairs: Sequence[tuple[int, float]], class_names: ClassNames | None) -> str:
    total: defaultdict[int, float] = defaultdict(float)
    for label, weight in pairs:
        total[label] += weight
    heaviest = sorted(total.items(), key=lambda pair: -pair[1])[:4]
    shown = [
        f"{name_of(label, class_names)} {weight:.2f}" for label, weight in heaviest if abs(weight) >= _LEAST_WEIGHT
    ]
    return " · ".join(shown)


def _extras(target: SoftTarget) -> str:
    smoothing = f" · ε {target.label_smoothing:g}" if target.label_smoothing else ""
    return smoothing + "".join(f" · teacher T {temperature:g}" for temperature, _, _ in target.teachers)
