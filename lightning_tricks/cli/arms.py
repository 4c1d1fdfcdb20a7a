"""The arms of the command's study: each trick alone, and all that go together."""

from functools import partial

import lightning.pytorch as pl
import torch

from lightning_tricks.callbacks.constant_warmup import ConstantWarmup
from lightning_tricks.callbacks.cosine_decay import CosineDecay
from lightning_tricks.callbacks.cutmix import CutMix
from lightning_tricks.callbacks.cutout import Cutout
from lightning_tricks.callbacks.gradual_warmup import GradualWarmup
from lightning_tricks.callbacks.linear_scaling import LinearScaling
from lightning_tricks.callbacks.mixup import Mixup
from lightning_tricks.callbacks.mosaic import Mosaic
from lightning_tricks.callbacks.polynomial_decay import PolynomialDecay
from lightning_tricks.callbacks.random_choice import RandomChoice
from lightning_tricks.callbacks.random_erasing import RandomErasing
from lightning_tricks.callbacks.ricap import RICAP
from lightning_tricks.callbacks.step_decay import StepDecay
from lightning_tricks.cli.tiny_cnn import TinyCNN
from lightning_tricks.optim.adabound import AdaBound
from lightning_tricks.optim.param_groups import weight_decay_groups
from lightning_tricks.study import Arm


class AdaBoundCNN(TinyCNN):
    """The same net under AdaBound, with AdaBound's own learning rates."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdaBound with the weight decay of the others."""
        return AdaBound(self.parameters(), weight_decay=self.weight_decay)


class WeightsDecayedCNN(TinyCNN):
    """The same net with weight decay on its weights alone."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The same optimizer, its parameters in two groups."""
        return torch.optim.SGD(weight_decay_groups(self, self.weight_decay), lr=self.lr, momentum=0.9, nesterov=True)


def digit_arms(*, lr: float, max_epochs: int) -> dict[str, Arm]:
    """Every trick alone, with settings for small images and few epochs, and ``all`` for those that go together.

    Args:
        lr: of the arms with a module of their own; the others have the study's.
        max_epochs: of a run; the steps of a decay lie within it.

    Returns:
        Name to arm.
    """
    return {
        "mixup": Arm(lambda: [Mixup()]),
        "cutmix": Arm(lambda: [CutMix()]),
        "ricap": Arm(lambda: [RICAP()]),
        "mosaic": Arm(lambda: [Mosaic()]),
        "cutout": Arm(lambda: [Cutout(length=4)]),
        "random erasing": Arm(lambda: [RandomErasing()]),
        "linear scaling": Arm(lambda: [LinearScaling()]),
        "constant warmup": Arm(lambda: [ConstantWarmup(epochs=1)]),
        "gradual warmup": Arm(lambda: [GradualWarmup(epochs=1)]),
        "cosine decay": Arm(lambda: [CosineDecay()]),
        "step decay": Arm(lambda: [StepDecay(every_epochs=max_epochs / 3)]),
        "polynomial decay": Arm(lambda: [PolynomialDecay()]),
        "no bias decay": Arm(module_factory=partial(WeightsDecayedCNN, lr=lr)),
        "adabound": Arm(module_factory=AdaBoundCNN),
        "all": Arm(_all),
    }


def _all() -> list[pl.Callback]:
    """One image trick for each batch, one warm-up and one decay: two of a kind stand in each other's way."""
    images = RandomChoice([Mixup(), CutMix(), RICAP(), Mosaic(), Cutout(length=4), RandomErasing()])
    return [images, GradualWarmup(epochs=1), CosineDecay()]
