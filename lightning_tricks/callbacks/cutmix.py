"""CutMix as a callback."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.mixing_trick import MixingTrick, MixOptions, MixParams, draw_lam
from lightning_tricks.engine.targets import scaled_edge
from lightning_tricks.functional import cutmix, cutmix_box
from lightning_tricks.functional.checks import check_flag, check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class CutMixParams(MixParams):
    """What :class:`CutMix` has drawn; λ is the share of the pixels outside the box.

    Attributes:
        box: ``(top, left, height, width)`` in pixels: integers (4,), or (N, 4), one box per image.
    """

    box: np.ndarray

    def scaled(self, stride: tuple[int, int]) -> CutMixParams:
        """The box in coarser pixels."""
        box = np.asarray(self.box)
        start, stop = (scaled_edge(edge, stride) for edge in (box[..., :2], box[..., :2] + box[..., 2:]))
        return dataclasses.replace(self, box=np.concatenate([start, stop - start], axis=-1))


class CutMix(MixingTrick):
    """Puts a box of a partner's pixels into every image; see :func:`lightning_tricks.functional.cutmix`.

    The box has the area share 1−λ with λ ~ Beta(α, α) and a uniform center, and is clipped at the border; λ is then
    counted from its pixels, so that label weight equals pixel share exactly. α = 0 leaves every batch as it is.
    The authors' code for CIFAR has p = 0.5, for ImageNet p = 1.

    Args:
        alpha: α of the Beta distribution, 0 or more.
        per_sample: draw a box for each sample instead of one for the batch.
        shared: the keywords of :class:`~lightning_tricks.callbacks.mixing_trick.MixingTrick`: ``labels``, ``p``, ...

    Raises:
        TypeError: an argument has the wrong type; at the first batch, images or targets have.
        ValueError: an argument is out of its range; at the first batch, a shape does not fit.

    Example:
        >>> import torch
        >>> images, target = CutMix()((torch.rand(4, 3, 8, 6), torch.arange(4)), rng=0)
        >>> target.hard.shape
        torch.Size([4])

    References:
        Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
        arXiv:1905.04899.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        per_sample: bool = False,
        **shared: Unpack[MixOptions],
    ) -> None:
        super().__init__(**shared)
        self.alpha = check_number(self.name, "alpha", alpha, low=0.0)
        self.per_sample = check_flag(self.name, "per_sample", per_sample)

    def draw(self, rng: np.random.Generator, images: Tensor) -> CutMixParams:
        """Draws ``active``, the partner and the box."""
        n, (height, width) = len(images), images.shape[-2:]
        active = bool(rng.random() < self.p) and self.alpha > 0
        shift = int(rng.integers(1, n)) if n > 1 else 0
        count = n if self.per_sample else None
        share = 1 - draw_lam(rng, self.alpha, count)
        center = rng.integers((height, width), size=None if count is None else (count, 2))
        box, lam = cutmix_box(share, center=center, size=(height, width))
        picks = self.draw_picks(rng, n)
        return CutMixParams(active=active, shifts=(0, shift), weights=(lam, 1 - lam), picks=picks, box=box)

    def mix_images(self, params: CutMixParams, images: Tensor) -> Tensor:
        """Cuts images, or masks of any dtype."""
        return cutmix(images, box=params.box, shift=params.shifts[1])
