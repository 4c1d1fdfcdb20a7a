"""Optimizers, parameter groups and initial weights."""

from lightning_tricks.optim._zero_gamma import zero_gamma
from lightning_tricks.optim.adabound import AdaBound
from lightning_tricks.optim.param_groups import weight_decay_groups

__all__ = ["AdaBound", "weight_decay_groups", "zero_gamma"]
