"""Pure tensor and number functions, one file a trick; nothing here imports Lightning."""

from lightning_tricks.functional.cutmix import cutmix, cutmix_box
from lightning_tricks.functional.mixup import mixup

__all__ = [
    "cutmix",
    "cutmix_box",
    "mixup",
]
