"""The arms of the command's study: each trick alone, and all of them."""

import lightning.pytorch as pl

from lightning_tricks.callbacks.cosine_decay import CosineDecay
from lightning_tricks.callbacks.cutmix import CutMix
from lightning_tricks.callbacks.gradual_warmup import GradualWarmup
from lightning_tricks.callbacks.mixup import Mixup
from lightning_tricks.study import Arm


def digit_arms() -> dict[str, Arm]:
    """Every trick alone under its own name, and ``all``; settings that suit a dozen epochs of small images."""
    return {
        "mixup": Arm(lambda: [Mixup()]),
        "cutmix": Arm(lambda: [CutMix()]),
        "gradual warmup": Arm(lambda: [GradualWarmup(epochs=1)]),
        "cosine decay": Arm(lambda: [CosineDecay()]),
        "all": Arm(_all),
    }


def _all() -> list[pl.Callback]:
    """Half of the batches are mixed by one trick or by both, as in a run without tuning."""
    return [Mixup(p=0.5), CutMix(p=0.5), GradualWarmup(epochs=1), CosineDecay()]
