"""Residual blocks that begin as the identity."""

import torch
from torch import nn

_SHORTCUTS = ("downsample", "shortcut")  # what marks a block: torchvision's and timm's name, and the other usual one


@torch.no_grad()
def zero_gamma(module: nn.Module) -> int:
    """Zeroes the scale γ of the last normalisation of every residual block: each begins as its shortcut.

    A residual block is a submodule with a ``bn2`` and a ``downsample`` or ``shortcut``, as in torchvision's and timm's
    ResNets; its last normalisation is ``bn3`` where there is one, else ``bn2``.

    Args:
        module: changed in place, before training.

    Returns:
        The number of blocks.

    Raises:
        TypeError: if ``module`` is not a module.
        ValueError: if there is no such block, or one's last normalisation has no scale.

    Example:
        >>> from torchvision.models import resnet50
        >>> from lightning_tricks import zero_gamma
        >>> zero_gamma(resnet50())
        16

    References:
        Goyal et al., Accurate, Large Minibatch SGD, arXiv 1706.02677.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"zero_gamma needs a module, but got {type(module).__name__}")
    blocks = {
        name: block
        for name, block in module.named_modules()
        if hasattr(block, "bn2") and any(hasattr(block, shortcut) for shortcut in _SHORTCUTS)
    }
    if not blocks:
        raise ValueError(
            f"zero_gamma needs residual blocks with bn2 and a shortcut, but {type(module).__name__} has none"
        )
    scales = []
    for name, block in blocks.items():
        scale = getattr(getattr(block, "bn3", block.bn2), "weight", None)
        if scale is None:
            raise ValueError(f"zero_gamma needs a scale in each block's last normalisation, but {name!r} has none")
        scales.append(scale)
    for scale in scales:
        scale.zero_()
    return len(scales)
