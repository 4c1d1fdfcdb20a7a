"""The tricks as Lightning callbacks."""

from lightning_tricks.callbacks.augment import Augment
from lightning_tricks.callbacks.batch_trick import BatchTrick
from lightning_tricks.callbacks.constant_warmup import ConstantWarmup
from lightning_tricks.callbacks.cosine_decay import CosineDecay
from lightning_tricks.callbacks.cutmix import CutMix
from lightning_tricks.callbacks.cutout import Cutout
from lightning_tricks.callbacks.distillation import Distillation
from lightning_tricks.callbacks.gradual_warmup import GradualWarmup
from lightning_tricks.callbacks.label_smoothing import LabelSmoothing
from lightning_tricks.callbacks.linear_scaling import LinearScaling
from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.callbacks.mixup import Mixup
from lightning_tricks.callbacks.mosaic import Mosaic
from lightning_tricks.callbacks.polynomial_decay import PolynomialDecay
from lightning_tricks.callbacks.random_choice import RandomChoice
from lightning_tricks.callbacks.random_erasing import RandomErasing
from lightning_tricks.callbacks.ricap import RICAP
from lightning_tricks.callbacks.step_decay import StepDecay

__all__ = [
    "RICAP",
    "Augment",
    "BatchTrick",
    "ConstantWarmup",
    "CosineDecay",
    "CutMix",
    "Cutout",
    "Distillation",
    "GradualWarmup",
    "LRTrick",
    "LabelSmoothing",
    "LinearScaling",
    "Mixup",
    "Mosaic",
    "PolynomialDecay",
    "RandomChoice",
    "RandomErasing",
    "StepDecay",
]
