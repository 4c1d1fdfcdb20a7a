"""The tricks as Lightning callbacks."""

from lightning_tricks.callbacks.cosine_decay import CosineDecay
from lightning_tricks.callbacks.gradual_warmup import GradualWarmup
from lightning_tricks.callbacks.lr_trick import LRTrick

__all__ = [
    "CosineDecay",
    "GradualWarmup",
    "LRTrick",
]
