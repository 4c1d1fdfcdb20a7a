"""Mixup: each sample blended with its partner."""

import numpy as np
import torch
from torch import Tensor

from lightning_tricks.functional._pairing import partner_slices
from lightning_tricks.functional.checks import check_number


def mixup(images: Tensor, *, lam: float | Tensor | np.ndarray, shift: int = 1) -> Tensor:
    """Blends each sample with its partner.

    ``result[i] = lam · images[i] + (1 − lam) · images[(i + shift) mod N]``

    λ = 1 gives the batch, λ = 0 its partners. Where every sample is its own partner (N ≤ 1, or ``shift`` a multiple
    of N) the images are returned unchanged. In float16 and bfloat16 the weights stay in float32 and only
    results are rounded: once with one λ per batch, twice with one per sample.

    Args:
        images: floating-point tensor (N, …): images, or targets that are mixed with them (soft, multi-hot, regression).
        lam: weight of the original sample, in [0, 1]: a number for the whole batch, or a tensor or array (N,), one
            per sample, on any device. The range of a tensor is not checked, since that would read it back.
        shift: distance from a sample to its partner.

    Returns:
        A new tensor of the same shape, dtype, device and memory format; ``images`` itself if nothing is mixed.

    Raises:
        TypeError: if ``images`` is not floating point, or ``lam`` is not a number, tensor or array.
        ValueError: if a number ``lam`` lies outside [0, 1], or a tensor ``lam`` is not of shape (N,).
        RuntimeError: by torch, if ``images`` requires a gradient while gradients are on.

    Example:
        >>> import torch
        >>> mixup(torch.tensor([[0.0], [4.0], [8.0]]), lam=0.75).flatten().tolist()
        [1.0, 5.0, 6.0]

    References:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412. There a permutation of the
        batch draws the partner; here a shift, which needs no gather and never pairs a sample with itself.
    """
    if not images.is_floating_point():
        raise TypeError(f"mixup needs floating-point images or targets, but got {images.dtype}.")
    n = len(images)
    weights = _weights(lam, images)
    if n == 0 or shift % n == 0:
        return images

    mixed = torch.empty_like(images)
    for own, partner in partner_slices(n, shift):
        if isinstance(weights, float):
            torch.lerp(images[own], images[partner], 1.0 - weights, out=mixed[own])
        elif weights.dtype == images.dtype:
            torch.lerp(images[own], images[partner], 1.0 - weights[own], out=mixed[own])
        else:
            torch.mul(images[own], weights[own], out=mixed[own]).addcmul_(images[partner], 1.0 - weights[own])
    return mixed


def _weights(lam: float | Tensor | np.ndarray, images: Tensor) -> float | Tensor:
    """Returns one number, or one per sample in a shape that broadcasts against the images."""
    if isinstance(lam, Tensor | np.ndarray):
        # Weights below float32 would be rounded, and with them the mean of every image.
        dtype = torch.promote_types(images.dtype, torch.float32)
        weights = torch.as_tensor(lam, dtype=dtype).to(images.device, non_blocking=True)
        if weights.shape != images.shape[:1]:
            raise ValueError(
                f"mixup needs one lam, or one per sample for {len(images)} samples, "
                f"but got shape {tuple(weights.shape)}."
            )
        return weights.view(-1, *[1] * (images.ndim - 1))
    return check_number("mixup", "lam", lam, low=0, high=1)
