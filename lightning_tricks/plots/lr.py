"""Plot of the learning rate of a run that need not take place."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from lightning.pytorch import Callback

from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.engine.lr_run import prepare
from lightning_tricks.engine.run_length import RunLength
from lightning_tricks.functional.checks import check_integer, check_number
from lightning_tricks.plots.figure import check_callbacks, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_lr(callbacks: Sequence[Callback], *, lr: float, steps_per_epoch: int, epochs: int) -> Figure:
    """Draws the learning rate of a run, and the factor of each trick, without the run.

    The upper axes show ``lr`` times the product of all factors, the lower axes each factor. Schedulers of the module
    are not drawn; they would multiply the curve. A ``ConstantWarmup`` with a ``monitor`` is drawn at its full length, a
    ``LinearScaling`` for one rank without accumulation.

    Args:
        callbacks: the callbacks of the run, in any order; only learning-rate tricks are drawn. They are not changed.
        lr: the nominal learning rate, above 0.
        steps_per_epoch: optimizer steps per epoch, at least 1.
        epochs: epochs of the run, at least 1.

    Returns:
        A new figure of two axes that share their x axis, the epochs. It has no window; ``savefig`` writes it.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.
        MisconfigurationException: the tricks exclude each other, or ``LinearScaling`` has no ``batch_size``.
        ModuleNotFoundError: matplotlib is not installed; ``pip install lightning-tricks[cli]`` installs it.

    Example:
        >>> from lightning_tricks import CosineDecay, GradualWarmup
        >>> figure = plot_lr([GradualWarmup(epochs=5), CosineDecay()], lr=0.1, steps_per_epoch=100, epochs=90)
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['learning rate', 'factor']
    """
    check_callbacks("plot_lr", callbacks)
    check_number("plot_lr", "lr", lr, above=0)
    check_integer("plot_lr", "steps_per_epoch", steps_per_epoch, low=1)
    check_integer("plot_lr", "epochs", epochs, low=1)
    # Copies, since resolving the run's length changes the tricks.
    tricks = [copy.copy(callback) for callback in callbacks if isinstance(callback, LRTrick)]
    for trick in tricks:
        trick.load_state({})
    total = steps_per_epoch * epochs
    prepare(tricks, RunLength(steps_per_epoch, total))

    # A step's rate holds until the next step, the last one's until the end of the run.
    edges = [step / steps_per_epoch for step in range(total + 1)]
    factors = [[trick.factor(step) for step in range(total)] for trick in tricks]
    product = [lr] * total
    for factor in factors:
        product = [rate * share for rate, share in zip(product, factor, strict=True)]

    figure = new_figure("plot_lr", size=(7, 5))
    above, below = figure.subplots(2, sharex=True)
    above.plot(edges, [*product, product[-1]], drawstyle="steps-post", color="black")
    above.set_ylabel("learning rate")
    above.set_ylim(bottom=0)
    # Factors often coincide at 1: gaps in the upper line show the lower one.
    for trick, factor, dashes in zip(tricks, factors, cycle(("-", "--", "-.", ":")), strict=False):
        values = [*factor, factor[-1]]
        below.plot(edges, values, drawstyle="steps-post", linestyle=dashes, label=type(trick).__name__)
    below.set_ylabel("factor")
    below.set_xlabel("epoch")
    below.set_ylim(bottom=0)
    below.set_xlim(0, epochs)
    if tricks:
        below.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)  # beside the curves, not on them
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return figure
