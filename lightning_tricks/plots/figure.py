"""Figures without a window, their pixels, and the check of a plot's callbacks; imports matplotlib on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import Callback

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(owner: str, *, size: tuple[float, float]) -> Figure:
    """Returns an empty figure, ``size`` in inches, that pyplot does not know, so that nobody has to close it."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{owner} needs matplotlib, which is not installed; install it with pip install 'lightning-tricks[cli]'.",
            name=error.name,
        ) from error
    return Figure(figsize=size, layout="constrained")


def check_callbacks(owner: str, callbacks: object) -> None:
    """Raises for anything but a sequence of callbacks."""
    if not isinstance(callbacks, Sequence) or not all(isinstance(callback, Callback) for callback in callbacks):
        raise TypeError(f"{owner} needs callbacks to be a list of callbacks, but got {callbacks!r}.")


def pixels(figure: Figure) -> np.ndarray:
    """Renders a figure to bytes (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
