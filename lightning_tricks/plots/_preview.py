"""A batch before and after the tricks, as a picture."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Callback

from lightning_tricks.callbacks.batch_trick import BatchTrick
from lightning_tricks.engine.batch_run import BatchRandomness, in_order
from lightning_tricks.engine.fields import describe, is_detection
from lightning_tricks.engine.located import locate
from lightning_tricks.functional.checks import check_integer
from lightning_tricks.plots.captions import (
    ClassNames,
    check_class_names,
    class_name,
    drawn,
    label_captions,
    wrap,
)
from lightning_tricks.plots.figure import check_callbacks, new_figure
from lightning_tricks.plots.pixel_range import PixelRange, Statistic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL, _GAP, _LINE, _MARGIN = 1.55, 0.1, 0.15, 2.2  # inches
_CHARACTERS = 26  # that fit under an image


@dataclasses.dataclass
class Row:
    """One row of pictures: the lines in its margin, a batch, a trick that knows where its images are, and all draws."""

    beside: Sequence[str]
    batch: Any
    trick: Any = None
    draws: Sequence[Any] = ()


def preview(
    callbacks: Sequence[Callback],
    batch: Any,
    *,
    rng: np.random.Generator | int = 0,
    max_images: int = 6,
    mean: Statistic | None = None,
    std: Statistic | None = None,
    class_names: ClassNames | None = None,
) -> Figure:
    """Draws a batch, what each batch trick alone makes of it, and what all make of it in the order of the list.

    Under each image stand its labels with their weights, one line per target; beside each row stands what was drawn for
    the batch (λ, a box), and under an image what was drawn for it alone. Boxes of detection batches are drawn on their
    images. A trick draws the same alone and among the others, and the same as for the first batch of a run with this
    seed on one device; ``start_epoch`` and ``stop_epoch`` mean nothing here, ``p`` does.

    Bytes are shown as they are. Floating-point images are un-normalised with ``mean`` and ``std``, or else scaled so
    that the least value of the images shown is black and the greatest white; the figure says which.

    Args:
        callbacks: the callbacks of the run; those that change no batch are left out (for learning rates there is
            :func:`~lightning_tricks.plot_lr`). They are not changed.
        batch: as ``training_step`` would receive it, with images (N, 1 or 3, H, W); it is not written to.
        rng: the run's seed, 0 or more, or a numpy generator to draw one from. A trick's own ``seed`` goes before it.
        max_images: how many images are shown, the first of the batch, at least 1; all of them are mixed.
        mean: what was subtracted from the images when they were normalised: a number, or one per channel.
        std: what they were divided by, above 0.
        class_names: a list of names, or a mapping from labels to names; where the batch has several targets, of the
            first one's labels.

    Returns:
        A new figure with a row of axes for each row of pictures. It belongs to no window; ``savefig`` writes it.

    Raises:
        TypeError: an argument has the wrong type, or a trick cannot take the batch.
        ValueError: an argument is out of its range, images are not found or cannot be shown, a class has no name.
        ModuleNotFoundError: matplotlib is not installed; it comes with ``pip install lightning-tricks[cli]``.

    Example:
        >>> import torch
        >>> from lightning_tricks import CutMix, Mixup
        >>> figure = preview([Mixup(alpha=1.0), CutMix()], (torch.rand(4, 3, 8, 6), torch.arange(4)))
        >>> [axes.get_ylabel().split()[0] for axes in figure.axes[::4]]
        ['original', 'Mixup', 'CutMix', 'Mixup,']
    """
    check_callbacks("preview", callbacks)
    if isinstance(rng, np.random.Generator):
        seed = int(rng.integers(2**63))
    else:
        seed = check_integer("preview", "rng", rng, low=0)
    tricks = in_order([callback for callback in callbacks if isinstance(callback, BatchTrick)], seed=seed, rank=0)
    rows = each_alone(tricks, batch)
    if len(tricks) > 1:
        new = batch
        for trick, randomness in tricks:
            new, _ = trick.rewrite(new, randomness.at(0))
        rows.append(Row([", ".join(trick.name for trick, _ in tricks) + " in this order"], new, tricks[0][0]))
    return draw_rows("preview", rows, max_images=max_images, mean=mean, std=std, class_names=class_names)


def each_alone(tricks: Sequence[tuple[Any, BatchRandomness]], batch: Any) -> list[Row]:
    """Returns a row of the originals, and one of what each trick alone makes of them."""
    rows = [Row(["original"], batch, tricks[0][0] if tricks else None)]
    for trick, randomness in tricks:
        new, params = trick.rewrite(batch, randomness.at(0))
        rows.append(Row(row_title(trick, params), new, trick, [params]))
    return rows


def row_title(trick: Any, params: Any) -> list[str]:
    """Returns a trick's name, which of its parts was chosen, whether it did anything, and what holds for the batch."""
    return [params.title(trick.name), *drawn(params)]


def draw_rows(
    owner: str,
    rows: Sequence[Row],
    *,
    max_images: int,
    mean: Statistic | None,
    std: Statistic | None,
    class_names: ClassNames | None,
) -> Figure:
    """Draws rows of pictures, the first ``max_images`` of each batch; see :func:`preview` for the arguments."""
    check_integer(owner, "max_images", max_images, low=1)
    name_of = partial(class_name, owner, check_class_names(owner, class_names))
    colours_of = PixelRange(owner, mean=mean, std=std)
    found = [locate(owner, row.batch, **(row.trick.keys if row.trick else {}) | {"uses_target": False}) for row in rows]
    colours = [colours_of(located.images[:max_images]) for located in found]
    count = len(colours[0])
    if count == 0:
        raise ValueError(f"{owner} needs a batch with images, but got {describe(found[0].images)}.")
    captions = []
    for row, located in zip(rows, found, strict=True):
        labels = label_captions(located.target, n=len(located.images), count=count, name_of=name_of)
        captions.append(["\n".join(_lines_under(row.draws, text, i)) for i, text in enumerate(labels)])
    heights = [_CELL * part.shape[1] / part.shape[2] for part in colours]  # of the pictures, without their captions
    lines = sum(max(text.count("\n") + 1 for text in texts) for texts in captions)
    size = (_MARGIN + (_CELL + _GAP) * count, 0.5 + sum(heights) + _LINE * lines + _GAP * len(rows))
    figure = new_figure(owner, size=size)
    grid = figure.subplots(len(rows), count, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes_row, row, part, texts, located in zip(grid, rows, colours, captions, found, strict=True):
        for i, axes in enumerate(axes_row):
            axes.imshow(part[i], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(texts[i], fontsize=7.5)
            if is_detection(located.target):
                _draw_boxes(axes, located.target[i], name_of)
        beside = [part for line in row.beside for part in textwrap.wrap(line, _CHARACTERS)]
        axes_row[0].set_ylabel("\n".join(beside), rotation=0, ha="right", va="center", fontsize=8)
    note = f"{str(found[0].images.dtype).removeprefix('torch.')} images; {colours_of.note}"
    figure.supxlabel("\n".join(textwrap.wrap(note, int(14 * size[0]))), fontsize=8)
    return figure


def _lines_under(draws: Sequence[Any], caption: str, i: int) -> list[str]:
    """Returns the lines under a picture: its labels, and what was drawn for it alone."""
    labels = [part for line in caption.split("\n") for part in wrap(line, _CHARACTERS)]
    return [*labels, *(line for params in draws for line in drawn(params, i))]


def _draw_boxes(axes: Axes, target: Mapping[str, Any], name_of: Callable[[int], str]) -> None:
    """Draws the boxes of one image, each with the name of its class."""
    from matplotlib.patches import Rectangle

    labels = target["labels"].tolist() if "labels" in target else []
    for k, (left, top, right, bottom) in enumerate(target["boxes"].tolist()):
        for colour, width in (("black", 2.5), ("#e69f00", 1.2)):  # seen on dark and on light
            axes.add_patch(
                Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=colour, lw=width)
            )
        if labels:
            box = {"facecolor": "black", "pad": 0.8, "linewidth": 0}
            axes.text(left, top, name_of(labels[k]), fontsize=6, color="#e69f00", va="top", bbox=box)
