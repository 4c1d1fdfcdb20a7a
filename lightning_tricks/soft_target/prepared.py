"""What the mean loss of mixed labels needs, made ready when they are mixed.

In a small batch on the CPU an operation of torch takes longer than numpy takes for the sums of the whole batch.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Prepared(NamedTuple):
    """Mixed labels of a batch, laid out for their mean cross-entropy.

    Attributes:
        n: number of samples.
        highest: the highest label; one that is negative counts as higher than all.
        labels: int64 (N·K,).
        rows: int64 (N·K,), the sample that each label belongs to.
        mean_weights: float32 (N·K,), −weights / their sum.
    """

    n: int
    highest: int
    labels: Tensor
    rows: Tensor
    mean_weights: Tensor

    def mean_loss(self, logits: Tensor) -> Tensor | None:
        """Returns the mean cross-entropy, or ``None`` where it takes more than what is prepared here.

        Args:
            logits: float32 (N, C) on the CPU, and every label is one of the C classes; for all others there is none.
        """
        if logits.ndim != 2 or logits.dtype != torch.float32 or not logits.is_cpu:
            return None
        n, num_classes = logits.shape
        if n != self.n or num_classes <= self.highest:
            return None
        places = torch.add(self.labels, self.rows, alpha=num_classes)
        return torch.log_softmax(logits, 1).take(places).dot(self.mean_weights)


def prepare(labels: np.ndarray, weights: np.ndarray) -> Prepared | None:
    """Lays out labels for their mean loss.

    Args:
        labels: integers (N, K).
        weights: float32 (N, K).

    Returns:
        ``None`` for what the general way is there for: labels that are no int64, of one component or of a large batch,
        weights without a positive sum, and inference mode, whose tensors could not be used outside.
    """
    is_small_mixture = 1 < labels.shape[1] <= labels.size <= _SMALL
    if not is_small_mixture or labels.dtype != np.int64 or torch.is_inference_mode_enabled():
        return None
    total = np.add.reduce(weights, axis=None)
    if not 0 < total < np.inf:
        return None
    highest = int(np.maximum.reduce(labels.view(np.uint64), axis=None))
    rows = _rows(*labels.shape)
    # In torch's memory, which is aligned as `dot` likes it: elsewhere its last bit depends on where a tensor lies.
    mean_weights = torch.empty(labels.size, dtype=torch.float32, device="cpu")
    np.divide(weights, -total, out=mean_weights.numpy().reshape(weights.shape))
    return Prepared(len(labels), highest, torch.from_numpy(labels.reshape(-1)), torch.from_numpy(rows), mean_weights)


def is_array(tensor: Tensor) -> bool:
    """Whether numpy can work on what the tensor holds."""
    if type(tensor) is not Tensor or not tensor.is_cpu or tensor.layout != torch.strided or tensor.is_neg():
        return False
    return not tensor.requires_grad and computes_at_once()


def computes_at_once() -> bool:
    """Whether torch neither compiles the code that runs nor transforms the function around it, as ``vmap`` does."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is None


_SMALL = 2**15  # labels: up to here a float32 dot product is as exact as torch's sum


@functools.lru_cache(maxsize=8)
def _rows(n: int, k: int) -> np.ndarray:
    """The number of the sample to which each of N·K labels belongs; a training run has one batch size, or two."""
    return np.arange(n).repeat(k)
