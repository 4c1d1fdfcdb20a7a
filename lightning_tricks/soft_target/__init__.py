"""Integer labels that remember the soft label they stand for."""

from lightning_tricks.soft_target import losses as losses  # both register what they handle
from lightning_tricks.soft_target import structure as structure
from lightning_tricks.soft_target.error import SoftTargetError
from lightning_tricks.soft_target.tensor import SoftTarget
from lightning_tricks.soft_target.ways_out import mixed_loss, soft_labels

__all__ = ["SoftTarget", "SoftTargetError", "mixed_loss", "soft_labels"]
