"""All tricks; the common checks run over them, so that a new trick is checked by being listed here."""

import torch
from torch import nn
from torchvision.transforms import v2

from lightning_tricks import (
    RICAP,
    Augment,
    ConstantWarmup,
    CosineDecay,
    CutMix,
    Cutout,
    Distillation,
    GradualWarmup,
    LabelSmoothing,
    LinearScaling,
    Mixup,
    Mosaic,
    PolynomialDecay,
    RandomChoice,
    RandomErasing,
    StepDecay,
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
LR_TRICKS = {
    "LinearScaling": lambda: LinearScaling(base_batch_size=16),
    "ConstantWarmup": lambda: ConstantWarmup(epochs=0.8),
    "ConstantWarmup with a monitor": lambda: ConstantWarmup(steps=5, monitor="train_acc", threshold=0.35),
    "GradualWarmup": lambda: GradualWarmup(steps=4),
    "GradualWarmup that holds": lambda: GradualWarmup(epochs=0.8, hold_scheduler=True),
    "CosineDecay": lambda: CosineDecay(),
    "StepDecay": lambda: StepDecay(every_steps=3),
    "StepDecay at milestones": lambda: StepDecay(milestones=[0.4, 1]),
    "PolynomialDecay": lambda: PolynomialDecay(power=2),
}
TRICKS = BATCH_TRICKS | LABEL_TRICKS | LR_TRICKS
YAML = {
    "LabelSmoothing": {"label_smoothing": 0.2, "spread": "others"},
    "Distillation": {"teacher": {"class_path": "tests.registry.Brightness"}, "temperature": 2.0},
    "Mixup": {"alpha": 0.4, "labels": "sample", "p": 0.5},
    "CutMix": {"per_sample": True, "input_key": "image", "target_key": "label"},
    "RICAP": {"beta": 0.5, "labels": "dense", "num_classes": 10},
    "Mosaic": {"center_range": [0.4, 0.6], "stop_epoch": 5},
    "Cutout": {"n_holes": 2, "length": 0.5, "value": [0.1, 0.2, 0.3]},
    "RandomErasing": {"p": 0.25, "value": "random", "seed": 3},
    "Augment": {"transform": {"class_path": "torchvision.transforms.v2.RandomHorizontalFlip"}, "per_sample": False},
    "RandomChoice": {
        "tricks": [
            {"class_path": "lightning_tricks.Mixup", "init_args": {"alpha": 0.3}},
            {"class_path": "lightning_tricks.CutMix"},
        ],
        "weights": [1.0, 3.0],
    },
    "LinearScaling": {"base_batch_size": 128, "rule": "sqrt"},
    "ConstantWarmup": {"factor": 0.2, "epochs": 1.5, "monitor": "acc", "threshold": 0.2, "mode": "min"},
    "GradualWarmup": {"steps": 10, "start_factor": 0.1, "hold_scheduler": True},
    "CosineDecay": {"min_factor": 0.1, "total_steps": 10},
    "StepDecay": {"milestones": [30.0, 60.0, 80.0], "gamma": 0.5},
    "PolynomialDecay": {"power": 2.0, "min_factor": 0.1},
}
"""Arguments of each trick as a configuration file has them."""
