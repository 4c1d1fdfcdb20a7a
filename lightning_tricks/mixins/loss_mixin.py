"""Base of the mixins that change a module's loss."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the label that cross-entropy leaves out


class LossMixin:
    """Ends the chain of ``compute_loss`` calls: the cross-entropy under the target that the mixins made."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def compute_loss(self, logits: Tensor, target: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Returns the mean cross-entropy.

        Args:
            logits: (N, C) or (N, C, d1, …).
            target: class labels or a :class:`~lightning_tricks.SoftTarget`, (N,) or (N, d1, …), where -100 is
                left out, or probabilities in the logits' shape.
            inputs: the inputs of the logits, for mixins that need them.

        Returns:
            A scalar in the logits' dtype.
        """
        return F.cross_entropy(logits, target, ignore_index=IGNORED)
