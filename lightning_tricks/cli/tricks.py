"""The tricks that the command knows by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
from torch import nn
from torchvision.transforms import v2

from lightning_tricks.callbacks import (
    RICAP,
    Augment,
    ConstantWarmup,
    CosineDecay,
    CutMix,
    Cutout,
    Distillation,
    GradualWarmup,
    LabelSmoothing,
    LinearScaling,
    Mixup,
    Mosaic,
    PolynomialDecay,
    RandomChoice,
    RandomErasing,
    StepDecay,
)
from lightning_tricks.functional.checks import unknown_name


@dataclass(frozen=True)
class Trick:
    """What ``--tricks NAME`` means: a summary for ``--help``, and callbacks or arguments of the module."""

    summary: str
    callbacks: Callable[[int], Sequence[pl.Callback]] = lambda epochs: ()  # from the length of the run in epochs
    module: Mapping[str, Any] = field(default_factory=dict)
    callbacks_with_teacher: Callable[[nn.Module], Sequence[pl.Callback]] | None = None


# Lengths are shares of the run or of the image: one setting suits 10 epochs of 8 x 8 pixels and 300 of 224 x 224.
TRICKS: dict[str, Trick] = {
    "mixup": Trick("blends each image with another", lambda epochs: [Mixup()]),
    "cutmix": Trick("pastes a box from another image", lambda epochs: [CutMix()]),
    "mixup_or_cutmix": Trick("one of the two per batch, at random", lambda epochs: [RandomChoice([Mixup(), CutMix()])]),
    "ricap": Trick("patches four crops together", lambda epochs: [RICAP()]),
    "mosaic": Trick("shows four whole images", lambda epochs: [Mosaic()]),
    "cutout": Trick("blanks a square of half the side", lambda epochs: [Cutout(length=0.5)]),
    "random_erasing": Trick("blanks a rectangle in half of the images", lambda epochs: [RandomErasing()]),
    "affine": Trick("rotates, shifts and scales a little", lambda epochs: [Augment(_affine())]),
    "label_smoothing": Trick("a tenth of the label goes to all classes", lambda epochs: [LabelSmoothing()]),
    "distillation": Trick(
        "learns from an equal net trained before", callbacks_with_teacher=lambda teacher: [Distillation(teacher)]
    ),
    "warmup": Trick("raises the rate over a tenth of the run", lambda epochs: [GradualWarmup(epochs=0.1 * epochs)]),
    "constant_warmup": Trick(
        "a tenth of the rate for a tenth of the run", lambda epochs: [ConstantWarmup(epochs=0.1 * epochs)]
    ),
    "cosine": Trick("lowers the rate along a cosine", lambda epochs: [CosineDecay()]),
    "step": Trick("a tenth of the rate after each third", lambda epochs: [StepDecay(every_epochs=epochs / 3)]),
    "polynomial": Trick("lowers the rate along a line", lambda epochs: [PolynomialDecay()]),
    "linear_scaling": Trick("--lr is meant for batches of 256", lambda epochs: [LinearScaling()]),
    "no_bias_decay": Trick("weight decay for weights only", module={"bias_decay": False}),
    "zero_gamma": Trick("residual blocks start as the identity", module={"zero_gamma": True}),
    "adabound": Trick("AdaBound instead of SGD", module={"optimizer": "adabound"}),
}
DEFAULT_TRICKS = ("mixup", "cutmix", "label_smoothing", "warmup", "cosine")


def parse_tricks(text: str) -> list[str]:
    """The names of tricks in a list separated by commas; ValueError if it is empty or a name is unknown or twice."""
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
    """The callbacks of several tricks together, in their order, for a run of ``epochs``."""
    return [callback for name in names for callback in TRICKS[name].callbacks(epochs)]


def module_options(names: Sequence[str]) -> dict[str, Any]:
    """The arguments of the module that several tricks together change."""
    return {option: value for name in names for option, value in TRICKS[name].module.items()}


def _affine() -> v2.Transform:
    return v2.RandomAffine(degrees=15, translate=(0.1, 0.1), scale=(0.9, 1.1))
