"""Conversion of pixel values to the colours of a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_tricks.engine.fields import describe
from lightning_tricks.functional.checks import check_number

Statistic = float | Sequence[float]


class PixelRange:
    """Maps images to colours in [0, 1], in the same way for all images of a figure.

    Bytes are shown unchanged. Floating-point images are un-normalised with ``mean`` and ``std``, each a number or one
    per channel; without them the least value of the first images is black and the greatest white.
    """

    def __init__(self, owner: str, *, mean: Statistic | None, std: Statistic | None) -> None:
        self.owner = owner
        if (mean is None) != (std is None):
            raise ValueError(f"{owner} needs mean and std to be given together, but got mean={mean!r} and std={std!r}.")
        self._mean = None if mean is None else self._check("mean", mean)
        self._std = None if std is None else self._check("std", std, above=0)
        self._limits: tuple[float, float] | None = None
        self.note = ""
        """How images are shown, in words; set by the first call."""

    def __call__(self, images: Tensor) -> np.ndarray:
        """Returns float32 colours (N, H, W, 3) of images (N, 3, H, W), or (N, H, W) for one channel."""
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"{self.owner} needs images of shape (N, C, H, W) with 1 or 3 channels, but got {describe(images)}."
            )
        values = images.detach().cpu().float()
        if images.dtype == torch.uint8:
            self.note = self.note or "shown as they are"
            values = values / 255
        elif self._mean is not None and self._std is not None:
            self.note = "un-normalised with the given mean and std"
            values = values * self._by_channel("std", self._std, images) + self._by_channel("mean", self._mean, images)
        else:
            low, high = self._limits = self._limits or _least_and_greatest(values)
            self.note = f"black is {low:.3g} and white {high:.3g}, the least and greatest value of the originals"
            values = (values - low) / ((high - low) or 1.0)
        colours = values.nan_to_num(0.0).clamp(0, 1).movedim(1, -1).numpy()
        return colours[..., 0] if colours.shape[-1] == 1 else colours

    def _check(self, name: str, value: object, **limits: float) -> Tensor:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return torch.tensor([check_number(self.owner, name, value, **limits)])
        return torch.tensor([check_number(self.owner, name, number, **limits) for number in value])

    def _by_channel(self, name: str, values: Tensor, images: Tensor) -> Tensor:
        if len(values) not in (1, images.shape[1]):
            raise ValueError(
                f"{self.owner} needs {name} to be a number or one per channel, but got {len(values)} for "
                f"{describe(images)}."
            )
        return values.view(-1, 1, 1)


def _least_and_greatest(values: Tensor) -> tuple[float, float]:
    finite = values[values.isfinite()]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
