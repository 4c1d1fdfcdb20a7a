"""Optimizers, parameter groups and first weights."""

from lightning_tricks.optim.adabound import AdaBound
from lightning_tricks.optim.param_groups import weight_decay_groups
from lightning_tricks.optim.zero_gamma import zero_gamma

__all__ = ["AdaBound", "weight_decay_groups", "zero_gamma"]
