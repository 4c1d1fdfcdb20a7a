"""Training tricks of image classification, each one line in ``Trainer(callbacks=[...])``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_tricks import callbacks
from lightning_tricks.callbacks import *  # noqa: F403 - a new trick is listed there alone
from lightning_tricks.engine.batch_run import mixed_batch
from lightning_tricks.functional.losses import distillation_loss, soft_cross_entropy
from lightning_tricks.metrics import MixedAccuracy
from lightning_tricks.mixins.distillation import DistillationMixin
from lightning_tricks.mixins.label_smoothing import LabelSmoothingMixin
from lightning_tricks.optim import AdaBound, weight_decay_groups, zero_gamma
from lightning_tricks.soft_target import SoftTarget, SoftTargetError, hard_labels, mixed_loss, soft_labels

if TYPE_CHECKING:
    from lightning_tricks import plots as plots
    from lightning_tricks import recipes as recipes
    from lightning_tricks import study as study
    from lightning_tricks.plots import BatchPreview, plot_lr, preview
    from lightning_tricks.study.ablation import Ablation
    from lightning_tricks.study.arm import Arm

__all__ = [
    "Ablation",
    "AdaBound",
    "Arm",
    "BatchPreview",
    "DistillationMixin",
    "LabelSmoothingMixin",
    "MixedAccuracy",
    "SoftTarget",
    "SoftTargetError",
    "distillation_loss",
    "hard_labels",
    "mixed_batch",
    "mixed_loss",
    "plot_lr",
    "preview",
    "soft_cross_entropy",
    "soft_labels",
    "weight_decay_groups",
    "zero_gamma",
]
__all__ += callbacks.__all__

__version__ = "0.1.0"

# Imported when first used: a training with tricks does not need them.
_PACKAGES = ("data", "models", "plots", "recipes", "study")
_LATER = {
    "Ablation": "lightning_tricks.study",
    "Arm": "lightning_tricks.study",
    "BatchPreview": "lightning_tricks.plots",
    "plot_lr": "lightning_tricks.plots",
    "preview": "lightning_tricks.plots",
}


if not TYPE_CHECKING:  # which would take every misspelt name for one of these

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            return getattr(import_module(_LATER[name]), name)
        if name in _PACKAGES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
