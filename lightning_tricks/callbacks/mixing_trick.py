"""The base of the tricks that mix the samples of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from torch import Tensor
from typing_extensions import Unpack

from lightning_tricks.callbacks.batch_trick import BatchOptions, BatchParams, BatchTrick
from lightning_tricks.engine.detection import rows_of
from lightning_tricks.engine.fields import is_detection, tensors_in
from lightning_tricks.engine.targets import TargetMixer, are_float_hits, stride_of
from lightning_tricks.functional.checks import Labels, check_choice, check_integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixParams(BatchParams):
    """What a mixing trick has drawn for one batch.

    Attributes:
        shifts: component k of sample i is sample (i + shifts[k]) mod N.
        weights: the share of each component: a number, or an array (N,) with one per sample. They sum to 1.
        picks: for ``labels="sample"``, one uniform number per sample in [0, 1), float32 (N,); else ``None``.
        components: the least number of labels that a soft target carries, so that tricks that stand in for each other
            give it one form.
    """

    shifts: tuple[int, ...] = dataclasses.field(repr=False)
    weights: tuple[float | np.ndarray, ...]
    picks: np.ndarray | None = dataclasses.field(default=None, repr=False)
    components: int = dataclasses.field(default=0, repr=False)

    def scaled(self, stride: tuple[int, int]) -> MixParams:
        """Returns the same for masks of which a pixel stands for ``stride`` pixels of the images."""
        raise ValueError(f"{type(self).__name__} cuts masks at the images' resolution alone; resize the masks.")

    def caption(self) -> dict[str, Any]:
        """λ in place of the weights where there is one partner, and what a subclass adds."""
        shown = super().caption()
        weights = shown.pop("weights", ())
        return {"λ": weights[0], **shown} if len(weights) == 2 else shown


class MixOptions(BatchOptions, total=False):
    """The keywords that every mixing trick takes."""

    labels: Labels
    """What class indices become: a :class:`~lightning_tricks.SoftTarget`, sampled labels or dense probabilities."""
    num_classes: int | None
    """Number of classes, for ``labels="dense"``."""


class MixingTrick(BatchTrick):
    """A batch trick after which a sample has several labels, with weights.

    Class indices become what ``labels`` says. Floating-point targets (soft or multi-hot labels, regression) become
    their weighted sum, with ``labels="sample"`` those of one component. A target whose last two dimensions are the
    image's (a mask) is mixed as its image is. Where a trick cuts, so is a coarser one (N, …, h, w) whose size divides
    the image's: each of its pixels goes where the middle of the image pixels goes that it stands for; another size is
    refused. A mask of classes under Mixup, where no pixel has one class, becomes what ``labels`` says. Several targets
    in a mapping, list or tuple are each treated so. A batch of nothing but images is mixed without labels.

    With one sample in the batch there is no partner, and the batch keeps its images.

    Args:
        labels: what class indices become. ``"soft"``: a :class:`~lightning_tricks.SoftTarget`, exact in
            ``F.cross_entropy``. ``"sample"``: a plain int64 label, for each sample drawn from its components by their
            weights, so that any loss whatsoever has the right expectation; multi-hot labels stay 0 and 1.
            ``"dense"``: float32 probabilities (N, num_classes).
        num_classes: number of classes, for ``labels="dense"``.
        shared: the keywords of :class:`~lightning_tricks.BatchTrick`: ``p``, ``start_epoch``, ...

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range, or ``num_classes`` is missing or has no use.
    """

    mixes = True
    cuts = True
    num_components = 2

    def __init__(
        self, *, labels: Labels = "soft", num_classes: int | None = None, **shared: Unpack[BatchOptions]
    ) -> None:
        super().__init__(**shared)
        self.labels: Labels = check_choice(self.name, "labels", labels, get_args(Labels))
        if (labels == "dense") != (num_classes is not None):
            raise ValueError(
                f'{self.name} needs num_classes for labels="dense", and for that alone, but got labels={labels!r} and '
                f"num_classes={num_classes!r}."
            )
        self.num_classes = None if num_classes is None else check_integer(self.name, "num_classes", num_classes, low=1)

    def check_pair(self, images: Tensor, target: Any) -> None:
        """Looks at each dictionary of a detection batch, and at the size of masks that are to be cut."""
        super().check_pair(images, target)
        if is_detection(target):
            self.check_detection(images, target)
        elif self.cuts:
            for tensor in tensors_in(target):
                stride_of(tensor, size=(images.shape[-2], images.shape[-1]), name=self.name)

    def check_detection(self, images: Tensor, targets: Sequence[Mapping[str, Any]]) -> None:
        """Raises for a detection batch whose boxes would be left behind."""
        rows_of(targets)

    def blends_hits(self, batch: Any) -> bool:
        """Whether labels of 0 and 1 become shares, which metrics do not take."""
        return self.labels == "soft" and are_float_hits(self.find(batch).target)

    def mix_images(self, params: Any, images: Tensor) -> Tensor:
        """Returns the mixed images; N is at least 2."""
        raise NotImplementedError

    def mix_mask(self, params: Any, mask: Tensor) -> Tensor:
        """Returns masks (N, …, H, W), mixed as the images are; N is at least 2."""
        return self.mix_images(params, mask)

    def mix_detection(self, params: Any, images: Tensor, targets: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Returns the dictionaries with boxes that belong to the mixed images; N is at least 2."""
        raise NotImplementedError

    def draw_picks(self, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """Draws a number in [0, 1) a sample, float32, for ``labels="sample"``; otherwise ``None``."""
        return rng.random(n, dtype=np.float32) if self.labels == "sample" else None

    def apply(self, params: Any, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Returns the mixed images and what becomes of the target."""
        mixing = params.active and len(images) > 1
        if is_detection(target):
            new_target = type(target)(self.mix_detection(params, images, target)) if mixing else target
        elif target is None:
            new_target = None
        else:
            new_target = TargetMixer(
                self.name,
                params,
                images,
                mixing=mixing,
                cuts=self.cuts,
                labels=self.labels,
                num_classes=self.num_classes,
                mix_mask=self.mix_mask,
            )(target)
        return self.mix_images(params, images) if mixing else images, new_target


def draw_lam(rng: np.random.Generator, alpha: float, n: int | None) -> float | np.ndarray:
    """Draws λ ~ Beta(α, α): one number, or ``n`` of them; 1 where α is 0."""
    if alpha == 0:
        return 1.0 if n is None else np.ones(n)
    lam = rng.beta(alpha, alpha, size=n)
    return float(lam) if n is None else lam
