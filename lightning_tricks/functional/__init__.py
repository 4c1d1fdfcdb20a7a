"""Pure functions of tensors and numbers, one file per trick; nothing here imports Lightning."""

from lightning_tricks.functional._cutmix import cutmix, cutmix_box
from lightning_tricks.functional._cutout import cutout, cutout_boxes
from lightning_tricks.functional._mixup import mixup
from lightning_tricks.functional._mosaic import mosaic, mosaic_boxes, mosaic_weights
from lightning_tricks.functional._random_erasing import random_erasing, random_erasing_boxes
from lightning_tricks.functional._ricap import ricap, ricap_weights
from lightning_tricks.functional.losses import distillation_loss, soft_cross_entropy
from lightning_tricks.functional.lr import (
    constant_warmup,
    cosine_decay,
    gradual_warmup,
    linear_scaling,
    polynomial_decay,
    step_decay,
)

# For the callbacks; not part of the public interface.
from lightning_tricks.functional._boxes import check_fits as check_fits  # isort: skip
from lightning_tricks.functional._cutout import hole_side as hole_side  # isort: skip
from lightning_tricks.functional._pairing import quadrants as quadrants  # isort: skip
from lightning_tricks.functional._random_erasing import RatioSampling as RatioSampling  # isort: skip

__all__ = [
    "constant_warmup",
    "cosine_decay",
    "cutmix",
    "cutmix_box",
    "cutout",
    "cutout_boxes",
    "distillation_loss",
    "gradual_warmup",
    "linear_scaling",
    "mixup",
    "mosaic",
    "mosaic_boxes",
    "mosaic_weights",
    "polynomial_decay",
    "random_erasing",
    "random_erasing_boxes",
    "ricap",
    "ricap_weights",
    "soft_cross_entropy",
    "step_decay",
]
