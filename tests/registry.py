"""All tricks; the common checks run over them, so that a new trick is checked by being listed here."""

import torch
from torch import nn
from torchvision.transforms import v2

from lightning_tricks import (
    RICAP,
    Augment,
    CutMix,
    Cutout,
    Distillation,
    LabelSmoothing,
    Mixup,
    Mosaic,
    RandomChoice,
    RandomErasing,
)

BATCH_TRICKS = {
    "Mixup": lambda **shared: Mixup(alpha=1.0, **shared),
    "Mixup per sample": lambda **shared: Mixup(alpha=1.0, per_sample=True, **shared),
    "CutMix": lambda **shared: CutMix(**shared),
    "CutMix per sample": lambda **shared: CutMix(per_sample=True, **shared),
    "RICAP": lambda **shared: RICAP(beta=1.0, **shared),
    "Mosaic": lambda **shared: Mosaic(**shared),
    "Cutout": lambda **shared: Cutout(n_holes=2, length=3, **shared),
    "RandomErasing": lambda **shared: RandomErasing(**({"p": 1.0} | shared)),
    "RandomErasing with noise": lambda **shared: RandomErasing(value="random", **({"p": 1.0} | shared)),
    "Augment": lambda **shared: Augment(v2.RandomCrop((16, 12), padding=3), **shared),
    "Augment per batch": lambda **shared: Augment(v2.RandomCrop((16, 12), padding=3), per_sample=False, **shared),
    "RandomChoice": lambda **shared: RandomChoice([Mixup(alpha=1.0), CutMix(), Cutout(length=3)], **shared),
}


class Brightness(nn.Module):
    """A teacher of five classes for images of any size."""

    def forward(self, images):
        return images.float().mean((1, 2, 3))[:, None] * torch.arange(5.0, device=images.device)


LABEL_TRICKS = {
    "LabelSmoothing": lambda **shared: LabelSmoothing(**shared),
    "Distillation": lambda **shared: Distillation(Brightness(), **shared),
}
MIXING_TRICKS = {
    "Mixup": Mixup,
    "CutMix": CutMix,
    "RICAP": RICAP,
    "Mosaic": Mosaic,
}
