"""RandomErasing as a callback."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.batch_trick import BatchParams, BatchTrick, OptionsBesideP
from lightning_tricks.engine.fields import describe
from lightning_tricks.functional import RatioSampling, check_fits, random_erasing, random_erasing_boxes
from lightning_tricks.functional.checks import check_choice, check_fill, check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomErasingParams(BatchParams):
    """What :class:`RandomErasing` has drawn.

    Attributes:
        boxes: ``(top, left, height, width)`` of each image's rectangle in pixels, integers (N, 4); without area where
            the image stays whole.
        noise_seed: for ``value="random"``, the seed of the noise.
    """

    boxes: np.ndarray
    noise_seed: int = dataclasses.field(default=0, repr=False)


class RandomErasing(BatchTrick):
    """Erases one rectangle from some images; see :func:`lightning_tricks.functional.random_erasing`.

    Each image is touched with chance p; its rectangle has a uniform area share, a log-uniform aspect ratio and a
    uniform position. Where none of 10 attempts fits, the image stays whole. Targets, masks included, stay as they are.

    Args:
        p: chance that an image is touched, in [0, 1] (for other tricks it is the chance of a batch).
        scale: least and greatest share of the image's area, in [0, 1].
        ratio: least and greatest height / width, above 0.
        value: what rectangles are filled with, in the units of the images that reach ``training_step``: a number (0 is
            the mean of the data set where images are normalised), one number per channel, or ``"random"``, a standard
            normal number for each pixel.
        ratio_sampling: ``"log"``, or ``"uniform"`` for the paper's.
        shared: the keywords of :class:`~lightning_tricks.BatchTrick`: ``start_epoch``, ``seed``, ...

    Raises:
        TypeError: an argument has the wrong type; at the first batch, noise is to be put into integer images.
        ValueError: an argument is out of its range; at the first batch, a shape does not fit.

    Example:
        >>> import torch
        >>> images, labels = RandomErasing(p=1.0)((torch.ones(2, 3, 8, 6), torch.arange(2)), rng=0)
        >>> bool((images == 0).any())
        True

    References:
        Zhong et al., "Random Erasing Data Augmentation", arXiv:1708.04896. There the ratio is drawn uniformly and up to
        100 attempts are made; the defaults here are torchvision's.
    """

    uses_target: ClassVar[bool] = False

    def __init__(
        self,
        p: float = 0.5,
        *,
        scale: tuple[float, float] = (0.02, 0.4),
        ratio: tuple[float, float] = (0.3, 1 / 0.3),
        value: float | Sequence[float] | str = 0.0,
        ratio_sampling: RatioSampling = "log",
        **shared: Unpack[OptionsBesideP],
    ) -> None:
        super().__init__(p=p, **shared)
        self.scale = self._check_pair("scale", scale, low=0.0, high=1.0)
        self.ratio = self._check_pair("ratio", ratio, above=0.0)
        if isinstance(value, str):
            self.value: float | tuple[float, ...] | str = check_choice(self.name, "value", value, ("random",))
        else:
            self.value = check_fill(self.name, value)
        check_choice(self.name, "ratio_sampling", ratio_sampling, get_args(RatioSampling))
        self.ratio_sampling = ratio_sampling

    def draw(self, rng: np.random.Generator, images: Tensor) -> RandomErasingParams:
        """Draws the rectangle of each image and which images are touched."""
        n = len(images)
        boxes = random_erasing_boxes(
            rng,
            n=n,
            size=(images.shape[-2], images.shape[-1]),
            scale=self.scale,
            ratio=self.ratio,
            ratio_sampling=self.ratio_sampling,
        )
        boxes[rng.random(n) >= self.p] = 0
        return RandomErasingParams(active=True, boxes=boxes, noise_seed=int(rng.integers(2**63)))

    def apply(self, params: RandomErasingParams, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Fills the rectangles."""
        if not params.active:
            return images, target
        value = _noise(images, params.noise_seed) if isinstance(self.value, str) else self.value
        return random_erasing(images, boxes=params.boxes, value=value), target

    def check_images(self, images: Tensor) -> None:
        """Noise needs floating point."""
        super().check_images(images)
        if self.value == "random" and not images.is_floating_point():
            raise TypeError(f'{self.name} needs floating-point images for value="random", but got {describe(images)}.')
        if not isinstance(self.value, str):
            check_fits(self.value, images=images, owner=self.name)

    def _check_pair(self, argument: str, pair: object, **limits: float) -> tuple[float, float]:
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"{self.name} needs {argument} to be a pair of numbers, but got {pair!r}.")
        low, high = (check_number(self.name, argument, number, **limits) for number in pair)
        if high < low:
            raise ValueError(f"{self.name} needs {argument} to be increasing, but got {pair!r}.")
        return low, high


def _noise(images: Tensor, seed: int) -> Tensor:
    """Standard normal noise of the images' shape, from a generator of its own on their device."""
    noise = torch.empty_like(images)
    if images.device.type == "meta":  # which has no generator, and no values
        return noise
    return noise.normal_(generator=torch.Generator(images.device).manual_seed(seed))
