"""Figures that belong to no window, and their pixels; matplotlib is imported when the first one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(owner: str, *, size: tuple[float, float]) -> Figure:
    """Returns an empty figure that pyplot does not know, so that nobody has to close it.

    Args:
        owner: who needs it, for the message.
        size: width and height in inches.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{owner} needs matplotlib, which is not installed; it comes with pip install 'lightning-tricks[cli]'",
            name=error.name,
        ) from error
    return Figure(figsize=size, layout="constrained")


def pixels(figure: Figure) -> np.ndarray:
    """Draws a figure into bytes (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
