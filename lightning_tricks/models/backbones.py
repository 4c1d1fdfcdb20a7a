"""The nets that ``--model`` names."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from torchvision import models

from lightning_tricks.functional.checks import unknown_name

TINY = "tiny"
_TIMM = "timm/"
_SMALL_IMAGE = 64
# In training these two would also return the logits of a second head, and warn about their slow initialisation.
_ONE_HEAD = {"aux_logits": False, "init_weights": True}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _ONE_HEAD, "inception_v3": _ONE_HEAD}


def model_names() -> list[str]:
    """``tiny`` and every classification model of torchvision."""
    return [TINY, *models.list_models(module=models)]


def build_model(
    name: str,
    *,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 224,
    pretrained: bool = False,
    weights: str | Path | None = None,
) -> nn.Module:
    """Builds a net for images of a given kind, with random, published or given weights; ValueError if they do not fit.

    Only two things change in a torchvision model. If the images do not have 3 channels, the first convolution gets as
    many as they have. A ResNet (ResNeXt, Wide ResNet) for images of up to 64 pixels starts with a 3 x 3 convolution of
    stride 1 and no pooling, as ResNets for CIFAR do: its own stem would reduce them to a quarter. Weights of the own
    stem keep it.
    """
    if pretrained and weights is not None:
        raise ValueError("Classifier needs pretrained or weights, but got both; leave one out.")
    state = None if weights is None else _read_weights(Path(weights))
    if name == TINY:
        if pretrained:
            raise ValueError(f"model {TINY!r} has no published weights; name another model, or give weights.")
        net: nn.Module = tiny_cnn(num_classes=num_classes, in_channels=in_channels)
    elif name.startswith(_TIMM):
        net = _timm_model(name, num_classes, in_channels, image_size, pretrained)
    elif name in models.list_models(module=models):
        options = {"image_size": image_size} if name.startswith("vit_") else _OPTIONS.get(name, {})
        try:
            net = models.get_model(name, weights=None, num_classes=num_classes, **options)
        except (AssertionError, ValueError) as error:
            raise _unfit(name, image_size, error) from error
        if pretrained:
            state = _published_weights(name)
        has_own_stem = state is not None and any(
            key.endswith("conv1.weight") and value.shape[-1] == 7 for key, value in state.items()
        )
        if isinstance(net, models.ResNet) and image_size <= _SMALL_IMAGE and not has_own_stem:
            net.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            net.maxpool = nn.Identity()
        elif in_channels != 3:
            _set_in_channels(net, in_channels)
    else:
        raise unknown_name("model", name, model_names(), more=", or timm/NAME")
    if state is not None:
        _load(net, state, name if weights is None else str(weights), num_classes)
    _try(net, name, in_channels, image_size)
    return net


def _timm_model(name: str, num_classes: int, in_channels: int, image_size: int, pretrained: bool) -> nn.Module:
    """A model of timm; vision transformers get the size of the images."""
    try:
        import timm
    except ImportError:
        raise ValueError(f"model {name!r} needs timm: pip install timm") from None
    short = name.removeprefix(_TIMM)
    if not timm.is_model(short):
        raise unknown_name("model of timm", short, timm.list_models())
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": num_classes, "in_chans": in_channels}
    try:
        try:
            return timm.create_model(short, img_size=image_size, **options)
        except TypeError:  # most nets take any size
            return timm.create_model(short, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unpublished(name, error) if pretrained else _unfit(name, image_size, error) from error


def _published_weights(name: str) -> Mapping[str, torch.Tensor]:
    """Torchvision's weights of a model, downloaded once."""
    try:
        return models.get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise _unpublished(name, error) from error


def _unpublished(name: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())
    return ValueError(f"model {name!r}: its published weights cannot be downloaded: {reason}; or give weights.")


def _read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """The state_dict of a file, which may be a Lightning checkpoint."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        raise ValueError(f"{path}: cannot read these weights: {reason or type(error).__name__}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not (isinstance(state, dict) and state and all(isinstance(value, torch.Tensor) for value in state.values())):
        raise ValueError(f"{path}: these are no weights; expected a state_dict or a Lightning checkpoint.")
    return state


def _load(net: nn.Module, state: Mapping[str, torch.Tensor], source: str, num_classes: int) -> None:
    """Loads weights, all but a last layer for another number of classes."""
    own = net.state_dict()
    first = next(iter(own))
    # A LightningModule's names start with that of its attribute.
    prefix = min((key.removesuffix(first) for key in state if key.endswith(first)), key=len, default="")
    given = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    given = {key: value for key, value in given.items() if not key.lower().startswith("aux")}  # second heads
    missing, extra = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    other = [key for key in own if key in given and own[key].shape != given[key].shape]
    heads = {key.rpartition(".")[0] for key in other}
    is_head = len(heads) == 1 and all(
        own[key].shape[0] == num_classes and own[key].shape[1:] == given[key].shape[1:] for key in other
    )
    if missing or extra or (other and not is_head):
        differing = [
            *(f"{key} is missing" for key in missing),
            *(f"{key} is not in the model" for key in extra),
            *(f"{key} has shape {tuple(given[key].shape)}, not {tuple(own[key].shape)}" for key in other),
        ]
        raise ValueError(
            f"{source}: these weights do not fit the model: {differing[0]} ({len(differing)} differences)."
        )
    for key in other:
        rank_zero_info(
            f"{source}: {key} is for {len(given[key])} classes; it stays random, for the {num_classes} of the data."
        )
        given[key] = own[key]
    net.load_state_dict(given)


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
