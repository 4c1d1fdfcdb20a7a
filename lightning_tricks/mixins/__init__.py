"""Mixins for LightningModules that compute their loss in plain sight."""

from lightning_tricks.mixins.distillation import DistillationMixin
from lightning_tricks.mixins.label_smoothing import LabelSmoothingMixin

__all__ = ["DistillationMixin", "LabelSmoothingMixin"]
