"""Mixins for LightningModules that want the loss visible in their code."""

from lightning_tricks.mixins.distillation import DistillationMixin
from lightning_tricks.mixins.label_smoothing import LabelSmoothingMixin

__all__ = ["DistillationMixin", "LabelSmoothingMixin"]
