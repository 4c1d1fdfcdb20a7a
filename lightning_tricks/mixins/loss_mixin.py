"""The base of the mixins that change a module's loss."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the label that cross-entropy takes for none


class LossMixin:
    """Ends the chain of ``compute_loss`` calls: the cross-entropy of whatever the mixins have made of the target.

    Args:
        kwargs: what other bases of the module take.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def compute_loss(self, logits: Tensor, target: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Returns the mean cross-entropy.

        Args:
            logits: (N, C) or (N, C, d1, …).
            target: class labels or a :class:`~lightning_tricks.SoftTarget`, (N,) or (N, d1, …), where -100 marks what
                is ignored, or probabilities in the logits' shape.
            inputs: what the logits were computed from, for mixins that need it.

        Returns:
            A scalar in the logits' dtype.
        """
        return F.cross_entropy(logits, target, ignore_index=IGNORED)
