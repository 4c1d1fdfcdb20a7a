"""Published training recipes as lists of callbacks, and as YAML files for the command.

A recipe is more than its callbacks: each function lists what else the published number needs. For a study, wrap each
callback in an arm and use ``question="recipe"``. For one training, use ``Trainer(callbacks=recipes.bag_of_tricks())``
or ``lightning-tricks fit --config FILE`` with the path that :func:`config_path` returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
from torch import nn
from torchvision.transforms import v2

from lightning_tricks.callbacks import (
    Augment,
    CosineDecay,
    CutMix,
    Distillation,
    GradualWarmup,
    LabelSmoothing,
    LinearScaling,
    Mixup,
    RandomChoice,
    RandomErasing,
)
from lightning_tricks.functional.checks import unknown_name

__all__ = ["bag_of_tricks", "config_path", "torchvision_2021"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)


def bag_of_tricks(
    *, teacher: nn.Module | Sequence[nn.Module] | None = None, temperature: float = 20.0
) -> list[pl.Callback]:
    """Returns the training refinements of "Bag of Tricks for Image Classification".

    ResNet-50 went from 75.3% to 79.29% top-1 on ImageNet. Part of that number, but no callbacks: the ResNet-50-D
    architecture; no weight decay on biases and normalisation (:func:`~lightning_tricks.weight_decay_groups`); the
    last scale of each residual block starting at 0 (:func:`~lightning_tricks.zero_gamma`); SGD with Nesterov momentum;
    batches of 1024; 16-bit precision (``Trainer(precision="16-mixed")``); 200 epochs, with mixup; a ResNet-152-D as
    the teacher; random crops to 224 pixels, flips, and colour jitter.

    Give the optimizer the learning rate for a batch of 256 (0.1 in the paper): ``LinearScaling`` multiplies it by the
    batch size / 256.

    Args:
        teacher: one or several trained modules; ``None`` leaves out the distillation.
        temperature: of the distillation, above 0.

    Returns:
        New callbacks. The YAML file ``bag_of_tricks`` has them without a teacher.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: ``temperature`` is out of its range.

    Example:
        >>> [type(callback).__name__ for callback in bag_of_tricks()]
        ['Mixup', 'LabelSmoothing', 'LinearScaling', 'GradualWarmup', 'CosineDecay']

    References:
        He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", arXiv:1812.01187.
    """
    callbacks: list[pl.Callback] = [
        Mixup(alpha=0.2),
        LabelSmoothing(label_smoothing=0.1),
        LinearScaling(base_batch_size=256),
        GradualWarmup(epochs=5),
        CosineDecay(),
    ]
    if teacher is not None:
        callbacks.append(Distillation(teacher, temperature=temperature))
    return callbacks


def torchvision_2021(*, mean: float | Sequence[float] = IMAGENET_MEAN) -> list[pl.Callback]:
    """Returns the recipe of torchvision's second set of ImageNet weights.

    ResNet-50 went from 76.130% to 80.858% top-1 on ImageNet. Part of that number, but no callbacks: 600 epochs; SGD
    with momentum 0.9, learning rate 0.5 for batches of 1024, weight decay 2e-5 but none for normalisation
    (:func:`~lightning_tricks.weight_decay_groups` excludes biases too); random crops to 176 pixels and flips
    in training, 224 pixels in validation; a sampler that repeats each image four times, each time augmented
    differently; and an average of the weights, Lightning's ``EMAWeightAveraging(decay=0.9989,
    update_every_n_steps=32)``: torchvision derives that decay from the length of the run; a shorter run needs a lower
    one.

    Images must reach ``training_step`` as floats in [0, 1], because TrivialAugment's operations are defined for them:
    normalise them in the module's ``forward``, not in the data set. The schedule changes the rate at each optimizer
    step, torchvision's at each epoch; at the start of each epoch the two agree.

    Args:
        mean: the data set's mean in [0, 1], with which rectangles are filled: a number, or one per channel.

    Returns:
        New callbacks. The YAML file ``torchvision_2021`` has them with ImageNet's mean.

    Raises:
        TypeError: ``mean`` has the wrong type.
        ValueError: ``mean`` is empty or not finite.

    Example:
        >>> [type(callback).__name__ for callback in torchvision_2021()][:3]
        ['Augment', 'RandomErasing', 'RandomChoice']

    References:
        Vryniotis, "How to Train State-Of-The-Art Models Using TorchVision's Latest Primitives", 2021,
        https://pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives/; the command
        is in https://github.com/pytorch/vision/issues/3995.
    """
    return [
        Augment(v2.TrivialAugmentWide()),
        RandomErasing(p=0.1, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=mean),
        RandomChoice([Mixup(alpha=0.2), CutMix(alpha=1.0)]),
        LabelSmoothing(label_smoothing=0.1),
        GradualWarmup(epochs=5, start_factor=0.01),
        CosineDecay(),
    ]


def config_path(recipe: Literal["bag_of_tricks", "torchvision_2021"]) -> Path:
    """Returns the path of a recipe's YAML file, for ``lightning-tricks fit --config``.

    Args:
        recipe: ``"bag_of_tricks"`` or ``"torchvision_2021"``.

    Raises:
        ValueError: there is no such recipe.

    Example:
        >>> config_path("bag_of_tricks").name
        'bag_of_tricks.yaml'
    """
    files = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}
    if recipe not in files:
        raise unknown_name("recipe", recipe, files)
    return files[recipe]
