"""The nets that ``--model`` names."""

from typing import Any

import torch
from torch import nn
from torchvision import models

from lightning_tricks.functional.checks import unknown_name

TINY = "tiny"
_SMALL_IMAGE = 64
# In training these two would also return the logits of a second head, and warn about their slow initialisation.
_ONE_HEAD = {"aux_logits": False, "init_weights": True}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _ONE_HEAD, "inception_v3": _ONE_HEAD}


def model_names() -> list[str]:
    """``tiny`` and every classification model of torchvision."""
    return [TINY, *models.list_models(module=models)]


def build_model(name: str, *, num_classes: int, in_channels: int = 3, image_size: int = 224) -> nn.Module:
    """Builds a net with random weights for images of a given kind; ValueError if the model cannot take them.

    Only two things change in a torchvision model. If the images do not have 3 channels, the first convolution gets as
    many as they have. A ResNet (ResNeXt, Wide ResNet) for images of up to 64 pixels starts with a 3 x 3 convolution of
    stride 1 and no pooling, as ResNets for CIFAR do: its own stem would reduce them to a quarter.
    """
    if name == TINY:
        net: nn.Module = tiny_cnn(num_classes=num_classes, in_channels=in_channels)
    elif name in models.list_models(module=models):
        options = {"image_size": image_size} if name.startswith("vit_") else _OPTIONS.get(name, {})
        try:
            net = models.get_model(name, weights=None, num_classes=num_classes, **options)
        except (AssertionError, ValueError) as error:
            raise _unfit(name, image_size, error) from error
    else:
        raise unknown_name("model", name, model_names())
    if isinstance(net, models.ResNet) and image_size <= _SMALL_IMAGE:
        net.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif in_channels != 3 and name != TINY:
        _set_in_channels(net, in_channels)
    _try(net, name, in_channels, image_size)
    return net


def tiny_cnn(*, num_classes: int, in_channels: int) -> nn.Sequential:
    """Three convolutions with batch normalisation: about 24,000 parameters, for images of at least 2 x 2 pixels."""
    return nn.Sequential(
        *_block(in_channels, 16),
        *_block(16, 32),
        nn.MaxPool2d(2),
        *_block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, num_classes),
    )


def _block(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()]


def _set_in_channels(net: nn.Module, in_channels: int) -> None:
    """Replaces the first convolution by one with other input channels."""
    name, first = next((name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d))
    parent, _, attribute = name.rpartition(".")
    changed = nn.Conv2d(
        in_channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        stride=first.stride,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    setattr(net.get_submodule(parent), attribute, changed)


def _try(net: nn.Module, name: str, in_channels: int, image_size: int) -> None:
    """Runs one image through the net, so that a wrong size is reported before anything is trained."""
    net.eval()
    try:
        with torch.no_grad():
            net(torch.zeros(1, in_channels, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _unfit(name, image_size, error) from error
    finally:
        net.train()


def _unfit(name: str, image_size: int, error: Exception) -> ValueError:
    reason = str(error).partition("\n")[0]
    return ValueError(f"model {name!r} cannot take images of {image_size} x {image_size} pixels: {reason}")
