"""Initialisation of residual blocks as the identity."""

import torch
from torch import nn

_SHORTCUTS = ("downsample", "shortcut")  # marks of a block: the name in torchvision and timm, and the other common one
_LAST_NORMS = ("bn3", "conv3.bn", "bn2", "conv2.bn")  # latest first; timm uses all four


@torch.no_grad()
def zero_gamma(module: nn.Module) -> int:
    """Zeroes the scale γ of the last normalisation of each residual block, so that the block starts as its shortcut.

    A residual block is a submodule with a ``downsample`` or ``shortcut`` and a second normalisation, as in the ResNets
    of torchvision and timm (SE, ResNeXt, Res2Net and SK among them); its last normalisation is ``bn3`` or ``conv3.bn``
    if present, else ``bn2`` or ``conv2.bn``. Nets that normalise before they convolve have no such block.

    Args:
        module: changed in place, before training.

    Returns:
        The number of blocks.

    Raises:
        TypeError: if ``module`` is not a module.
        ValueError: if there is no such block, or the last normalisation of one has no scale.

    Example:
        >>> from torchvision.models import resnet50
        >>> from lightning_tricks import zero_gamma
        >>> zero_gamma(resnet50())
        16

    References:
        Goyal et al., Accurate, Large Minibatch SGD, arXiv 1706.02677.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"zero_gamma needs module to be an nn.Module, but got {type(module).__name__}.")
    last_norms = {
        name: norm
        for name, block in module.named_modules()
        if any(hasattr(block, shortcut) for shortcut in _SHORTCUTS) and (norm := _last_norm(block)) is not None
    }
    if not last_norms:
        raise ValueError(
            f"zero_gamma needs residual blocks with bn2 and a shortcut, but got {type(module).__name__} without one."
        )
    scales = []
    for name, norm in last_norms.items():
        scale = getattr(norm, "weight", None)
        if scale is None:
            raise ValueError(f"zero_gamma needs a scale in each block's last normalisation, but got none in {name!r}.")
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
