"""Label smoothing as a mixin, for modules that call the loss themselves."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from lightning_tricks.functional.checks import check_choice, check_number
from lightning_tricks.functional.losses import Spread, class_dim, uniform_share
from lightning_tricks.mixins.loss_mixin import LossMixin
from lightning_tricks.soft_target import SoftTarget, SoftTargetError


class LabelSmoothingMixin(LossMixin):
    """Gives a module ``compute_loss(logits, target, inputs=None)`` with smoothed labels.

    The results are those of :class:`~lightning_tricks.LabelSmoothing`; probabilities are smoothed too. List the mixin
    before ``LightningModule`` among the bases, alone or with :class:`~lightning_tricks.DistillationMixin` in any order.

    Args:
        label_smoothing: ε in [0, 1).
        spread: ``"all"``: ε is spread over all classes; ``"others"``: over the classes that are not the label.
        kwargs: arguments of the other bases.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> class Net(LabelSmoothingMixin, torch.nn.Module):
        ...     pass
        >>> Net(label_smoothing=0.1).compute_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
        tensor(0.2269)
    """

    def __init__(self, label_smoothing: float = 0.1, *, spread: Spread = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.label_smoothing = check_number(
            "LabelSmoothingMixin", "label_smoothing", label_smoothing, low=0.0, below=1.0
        )
        check_choice("LabelSmoothingMixin", "spread", spread, get_args(Spread))
        self.spread: Spread = spread

    def compute_loss(self, logits: Tensor, target: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Returns the mean cross-entropy under smoothed labels; see :class:`LossMixin` for the arguments.

        Raises:
            SoftTargetError: the target is already smoothed.
        """
        if target.is_floating_point() and not isinstance(target, SoftTarget):
            num_classes = logits.shape[class_dim(logits)]
            epsilon = uniform_share(self.label_smoothing, self.spread, num_classes)
            smoothed = (1 - epsilon) * target + epsilon / num_classes
        else:
            try:
                smoothed = SoftTarget.smooth(target, self.label_smoothing, spread=self.spread)
            except SoftTargetError as error:
                raise SoftTargetError(f"LabelSmoothingMixin: {error}") from error
        return super().compute_loss(logits, smoothed, inputs)
