"""The tricks that the command knows by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
from torch import nn
from torchvision.transforms import v2

from lightning_tricks.callbacks.augment import Augment
from lightning_tricks.callbacks.constant_warmup import ConstantWarmup
from lightning_tricks.callbacks.cosine_decay import CosineDecay
from lightning_tricks.callbacks.cutmix import CutMix
from lightning_tricks.callbacks.cutout import Cutout
from lightning_tricks.callbacks.distillation import Distillation
from lightning_tricks.callbacks.gradual_warmup import GradualWarmup
from lightning_tricks.callbacks.label_smoothing import LabelSmoothing
from lightning_tricks.callbacks.linear_scaling import LinearScaling
from lightning_tricks.callbacks.mixup import Mixup
from lightning_tricks.callbacks.mosaic import Mosaic
from lightning_tricks.callbacks.polynomial_decay import PolynomialDecay
from lightning_tricks.callbacks.random_choice import RandomChoice
from lightning_tricks.callbacks.random_erasing import RandomErasing
from lightning_tricks.callbacks.ricap import RICAP
from lightning_tricks.callbacks.step_decay import StepDecay
from lightning_tricks.functional.checks import unknown_name


@dataclass(frozen=True)
class Trick:
    """What ``--tricks NAME`` means.

    Attributes:
        summary: a few words for ``--help``.
        callbacks: makes its callbacks for a run of so many epochs.
        module: what it changes of the module's own arguments.
        taught: makes its callbacks from a teacher, if it needs one.
    """

    summary: str
    callbacks: Callable[[int], Sequence[pl.Callback]] = lambda epochs: ()
    module: Mapping[str, Any] = field(default_factory=dict)
    taught: Callable[[nn.Module], Sequence[pl.Callback]] | None = None


# Lengths are shares of the run or of the image, so that one setting suits a dozen epochs of 8 x 8 and 300 of 224 x 224.
TRICKS: dict[str, Trick] = {
    "mixup": Trick("blends each image with another", lambda epochs: [Mixup()]),
    "cutmix": Trick("pastes a box of another image", lambda epochs: [CutMix()]),
    "mixup_or_cutmix": Trick("one of the two, by chance", lambda epochs: [RandomChoice([Mixup(), CutMix()])]),
    "ricap": Trick("patches four crops together", lambda epochs: [RICAP()]),
    "mosaic": Trick("shows four whole images", lambda epochs: [Mosaic()]),
    "cutout": Trick("blanks a square of half the side", lambda epochs: [Cutout(length=0.5)]),
    "random_erasing": Trick("blanks a rectangle of half of the images", lambda epochs: [RandomErasing()]),
    "affine": Trick("turns, shifts and scales a little", lambda epochs: [Augment(_affine())]),
    "label_smoothing": Trick("a tenth of the label for all classes", lambda epochs: [LabelSmoothing()]),
    "distillation": Trick(
        "learns from a net of its own kind, trained before", taught=lambda teacher: [Distillation(teacher)]
    ),
    "warmup": Trick("raises the rate over a tenth of the run", lambda epochs: [GradualWarmup(epochs=0.1 * epochs)]),
    "constant_warmup": Trick(
        "a tenth of the rate for a tenth of the run", lambda epochs: [ConstantWarmup(epochs=0.1 * epochs)]
    ),
    "cosine": Trick("lowers the rate along a cosine", lambda epochs: [CosineDecay()]),
    "step": Trick("a tenth of the rate after each third", lambda epochs: [StepDecay(every_epochs=epochs / 3)]),
    "polynomial": Trick("lowers the rate along a line", lambda epochs: [PolynomialDecay()]),
    "linear_scaling": Trick("--lr is that of batches of 256", lambda epochs: [LinearScaling()]),
    "no_bias_decay": Trick("weight decay for weights alone", module={"bias_decay": False}),
    "zero_gamma": Trick("residual blocks begin as the identity", module={"zero_gamma": True}),
    "adabound": Trick("AdaBound in place of SGD", module={"optimizer": "adabound"}),
}
LEFT_OUT = {
    "BatchTrick": "is a base",
    "LRTrick": "is a base",
    "BatchPreview": "changes nothing",
}
DEFAULT_TRICKS = ("mixup", "cutmix", "label_smoothing", "warmup", "cosine")


def parse_tricks(text: str) -> list[str]:
    """The names in a list such as ``--tricks`` takes.

    Args:
        text: names, separated by commas.

    Raises:
        ValueError: if there is no such trick, none is named, or one is named twice.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in TRICKS:
            raise unknown_name("trick", name, TRICKS)
        if names.count(name) > 1:
            raise ValueError(f"the trick {name!r} is named {names.count(name)} times")
    if not names:
        raise ValueError(f"no trick is named. There are: {', '.join(sorted(TRICKS))}.")
    return names


def make_callbacks(names: Sequence[str], epochs: int) -> list[pl.Callback]:
    """The callbacks of several tricks together, in their order.

    Args:
        names: of tricks.
        epochs: of the run.
    """
    return [callback for name in names for callback in TRICKS[name].callbacks(epochs)]


def module_options(names: Sequence[str]) -> dict[str, Any]:
    """What several tricks together change of the module's arguments.

    Args:
        names: of tricks.
    """
    return {option: value for name in names for option, value in TRICKS[name].module.items()}


def _affine() -> v2.Transform:
    return v2.RandomAffine(degrees=15, translate=(0.1, 0.1), scale=(0.9, 1.1))
