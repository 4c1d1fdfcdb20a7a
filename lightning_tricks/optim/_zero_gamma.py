"""Residual blocks that begin as the identity."""

import torch
from torch import nn

_SHORTCUTS = ("downsample", "shortcut")  # what marks a block: torchvision's and timm's name, and the other usual one
_LAST_NORMS = ("bn3", "conv3.bn", "bn2", "conv2.bn")  # the last one that a block has stands first; timm has all four


@torch.no_grad()
def zero_gamma(module: nn.Module) -> int:
    """Zeroes the scale γ of the last normalisation of every residual block: each begins as its shortcut.

    A residual block is a submodule with a ``downsample`` or ``shortcut`` and a second normalisation, as in the ResNets
    of torchvision and timm (SE, ResNeXt, Res2Net and SK among them); its last normalisation is ``bn3`` or ``conv3.bn``
    where there is one, else ``bn2`` or ``conv2.bn``. Nets that normalise before they convolve have no such block.

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
    last_norms = {
        name: norm
        for name, block in module.named_modules()
        if any(hasattr(block, shortcut) for shortcut in _SHORTCUTS) and (norm := _last_norm(block)) is not None
    }
    if not last_norms:
        raise ValueError(
            f"zero_gamma needs residual blocks with bn2 and a shortcut, but {type(module).__name__} has none"
        )
    scales = []
    for name, norm in last_norms.items():
        scale = getattr(norm, "weight", None)
        if scale is None:
            raise ValueError(f"zero_gamma needs a scale in each block's last normalisation, but {name!r} has none")
        scales.append(scale)
    for scale in scales:
        scale.zero_()
    return len(scales)


def _last_norm(block: nn.Module) -> nn.Module | None:
    for path in _LAST_NORMS:
        try:
            return block.get_submodule(path)
        except AttributeError:
            continue
    return None
