"""The tricks as Lightning callbacks."""

from lightning_tricks.callbacks.constant_warmup import ConstantWarmup
from lightning_tricks.callbacks.cosine_decay import CosineDecay
from lightning_tricks.callbacks.gradual_warmup import GradualWarmup
from lightning_tricks.callbacks.linear_scaling import LinearScaling
from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.callbacks.polynomial_decay import PolynomialDecay
from lightning_tricks.callbacks.step_decay import StepDecay

__all__ = [
    "ConstantWarmup",
    "CosineDecay",
    "GradualWarmup",
    "LRTrick",
    "LinearScaling",
    "PolynomialDecay",
    "StepDecay",
]
