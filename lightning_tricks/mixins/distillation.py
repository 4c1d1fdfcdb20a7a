"""Distillation as a mixin, for modules that call the loss themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lightning_tricks.engine.teacher import FrozenTeacher, Output
from lightning_tricks.functional.checks import check_flag
from lightning_tricks.functional.losses import distillation_terms, reduce_loss, result_dtype, teacher_log_probabilities
from lightning_tricks.mixins.loss_mixin import IGNORED, LossMixin
from lightning_tricks.soft_target.losses import counted_weights
from lightning_tricks.soft_target.tensor import SoftTarget, as_soft


class DistillationMixin(LossMixin):
    """Gives a module ``compute_loss(logits, target, inputs=None)`` with a teacher's loss added.

    The results are those of :class:`~lightning_tricks.Distillation`. The teacher is frozen, in eval mode and no part of
    this module; ``save_hyperparameters`` must ignore it. List the mixin before ``LightningModule`` among the bases,
    alone or with :class:`~lightning_tricks.LabelSmoothingMixin` in either order.

    Args:
        teacher: a module that returns logits for the inputs, or several modules, whose probabilities are averaged.
        temperature: T > 0.
        weight: w ≥ 0.
        kl: whether the teacher's entropy is left out of the loss.
        teacher_output: where the logits are in the teacher's output: a key, an index, an attribute's name, or a
            function of the output.
        log_parts: whether the module logs ``hard_loss``, the loss without the teacher, and ``distillation_kl``, w·T²
            times the divergence from the teacher, which is zero if they agree.
        kwargs: arguments of the other bases.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> class Net(DistillationMixin, torch.nn.Module):
        ...     pass
        >>> net = Net(teacher=torch.nn.Identity(), kl=True)
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> net.compute_loss(logits, torch.tensor([0]), inputs=logits)
        tensor(0.1269)
    """

    def __init__(
        self,
        teacher: nn.Module | Sequence[nn.Module],
        *,
        temperature: float = 4.0,
        weight: float = 1.0,
        kl: bool = False,
        teacher_output: Output | None = None,
        log_parts: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = "DistillationMixin"
        self._teacher = FrozenTeacher(owner, teacher, temperature=temperature, weight=weight, output=teacher_output)
        self.kl = check_flag(owner, "kl", kl)
        self.log_parts = check_flag(owner, "log_parts", log_parts)

    @property
    def teacher(self) -> nn.Module | list[nn.Module]:
        """The teacher, or the teachers where there are several."""
        return self._teacher.given

    def compute_loss(self, logits: Tensor, target: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Returns the loss of the other bases plus the teacher's; see :class:`LossMixin` for the arguments.

        Raises:
            TypeError: ``inputs`` or what the teacher returns is not a tensor.
            ValueError: ``inputs`` is missing, or the teacher's logits are NaN or do not fit the student's.
            MisconfigurationException: the teacher and this module share parameters.
        """
        if inputs is None:
            raise ValueError(
                "DistillationMixin needs inputs, but got None; call compute_loss(logits, target, inputs=x)."
            )
        if not self._teacher.checked and isinstance(self, nn.Module):
            self._teacher.check_apart_from(self)
        hard = super().compute_loss(logits, target, inputs)
        teacher = teacher_log_probabilities(self._teacher(inputs), temperature=self._teacher.temperature)
        distilled = self._distance(logits, teacher, target, kl=self.kl)
        if self.log_parts:
            divergence = self._distance(logits.detach(), teacher, target, kl=True)
            parts = {"hard_loss": hard.detach(), "distillation_kl": divergence}
            self.log_dict(parts, batch_size=len(logits))  # type: ignore[attr-defined]
        return hard + distilled

    def _distance(self, logits: Tensor, teacher: Tensor, target: Tensor, *, kl: bool) -> Tensor:
        """Returns the mean over the positions that the hard loss counts."""
        temperature, weight = self._teacher.temperature, self._teacher.weight
        terms = distillation_terms(logits, teacher, temperature=temperature, weight=weight, kl=kl)
        if target.is_floating_point() and not isinstance(target, SoftTarget):
            return terms.mean().to(result_dtype(logits))
        counted = counted_weights(as_soft(target), IGNORED)
        return reduce_loss(terms * counted, counted, "mean").to(result_dtype(logits))
