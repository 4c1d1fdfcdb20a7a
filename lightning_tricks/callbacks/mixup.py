"""Mixup as a callback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.mixing_trick import MixingTrick, MixOptions, MixParams, draw_lam
from lightning_tricks.engine.detection import join_rows, rows_of
from lightning_tricks.engine.fields import describe
from lightning_tricks.functional import mixup
from lightning_tricks.functional.checks import check_flag, check_number


class Mixup(MixingTrick):
    """Blends every sample and its label with a partner's; see :func:`lightning_tricks.functional.mixup`.

    λ ~ Beta(α, α); x' = λ·x + (1−λ)·x_partner; the label weights are (λ, 1−λ). α = 0 leaves every batch as it is.
    Inputs of any shape (N, …) are mixed; they need a floating-point dtype. In detection batches (one dictionary with
    ``boxes`` an image) the boxes and labels of both images are kept, unweighted, as is the practice there.

    Args:
        alpha: α of the Beta distribution, 0 or more. The paper used 0.2 on ImageNet and 1.0 on CIFAR-10.
        per_sample: draw λ for each sample instead of one for the batch.
        shared: the keywords of :class:`~lightning_tricks.callbacks.mixing_trick.MixingTrick`: ``labels``, ``p``, ...

    Raises:
        TypeError: an argument has the wrong type; at the first batch, images or targets have.
        ValueError: an argument is out of its range; at the first batch, a shape does not fit.

    Example:
        >>> import torch
        >>> images, target = Mixup(alpha=1.0)((torch.rand(4, 3, 8, 6), torch.arange(4)), rng=0)
        >>> target.probabilities(num_classes=4).sum(1)
        tensor([1., 1., 1., 1.])

    References:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
    """

    cuts = False
    takes_detection: ClassVar[bool] = True

    def __init__(
        self,
        alpha: float = 0.2,
        *,
        per_sample: bool = False,
        **shared: Unpack[MixOptions],
    ) -> None:
        super().__init__(**shared)
        self.alpha = check_number(self.name, "alpha", alpha, low=0.0)
        self.per_sample = check_flag(self.name, "per_sample", per_sample)

    def draw(self, rng: np.random.Generator, images: Tensor) -> MixParams:
        """Draws ``active``, the partner and λ."""
        n = len(images)
        active = bool(rng.random() < self.p) and self.alpha > 0
        shift = int(rng.integers(1, n)) if n > 1 else 0
        lam = draw_lam(rng, self.alpha, n if self.per_sample else None)
        return MixParams(active=active, shifts=(0, shift), weights=(lam, 1 - lam), picks=self.draw_picks(rng, n))

    def mix_images(self, params: MixParams, images: Tensor) -> Tensor:
        """Blends images, or floating-point masks."""
        return mixup(images, lam=params.weights[0], shift=params.shifts[1])

    def mix_detection(self, params: MixParams, images: Tensor, targets: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Keeps the boxes of both images, unweighted."""
        rows = rows_of(targets)
        n = len(targets)
        return [join_rows(own, [rows[i], rows[(i + params.shifts[1]) % n]]) for i, own in enumerate(targets)]

    def check_images(self, images: Tensor) -> None:
        """Blending needs floating point."""
        if not images.is_floating_point():
            raise TypeError(
                f"{self.name} needs floating-point images, but got {describe(images)}; convert them in the data set, "
                "or in on_after_batch_transfer to do it on the device."
            )
        if images.ndim < 2:
            raise ValueError(f"{self.name} needs a batch of inputs of shape (N, ...), but got {describe(images)}.")
