"""Integer labels that remember the soft label they stand for."""

from lightning_tricks.soft_target import losses as losses  # both register what they handle
from lightning_tricks.soft_target import policy as policy
from lightning_tricks.soft_target.fallbacks import hard_labels, mixed_loss, soft_labels
from lightning_tricks.soft_target.state import SoftTargetError
from lightning_tricks.soft_target.tensor import SoftTarget

__all__ = ["SoftTarget", "SoftTargetError", "hard_labels", "mixed_loss", "soft_labels"]
