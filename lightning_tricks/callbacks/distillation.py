"""Distillation as a callback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from lightning_tricks.callbacks.batch_trick import BatchOptions, BatchParams, BatchTrick, no_autocast
from lightning_tricks.engine.fields import describe
from lightning_tricks.engine.teacher import FrozenTeacher, Output
from lightning_tricks.functional.checks import check_flag
from lightning_tricks.soft_target import SoftTarget
from lightning_tricks.soft_target.tensor import is_class_index


class Distillation(BatchTrick):
    """Adds a teacher's loss to the module's ``F.cross_entropy``; the module does not change.

    The teacher sees the very images that the student sees, after all other tricks, whatever the place in the list. The
    labels become a :class:`~lightning_tricks.SoftTarget` that carries the teacher's probabilities, and the
    cross-entropy becomes l(p, softmax(z)) + w·T²·l(softmax(r/T), softmax(z/T)) with the student's logits z and the
    teacher's r; see :func:`lightning_tricks.functional.distillation_loss`. A criterion that does not know soft targets
    raises at the first batch.

    The teacher is frozen and in eval mode, from the construction of this callback on; it runs under ``no_grad``, on
    the student's device and under its autocast. It is neither in checkpoints nor in the student's parameters.

    Args:
        teacher: a module (a LightningModule is one) that returns logits for the images, or several of them, whose
            probabilities are averaged.
        temperature: T > 0. The paper in whose form this is took 20.
        weight: w ≥ 0.
        kl: whether the teacher's entropy is left out of the loss: the gradient is the same, and the loss is zero
            where student and teacher agree.
        teacher_output: which part of the teacher's output the logits are, if it is no tensor: a key, an index, an
            attribute's name, or a function of the output.
        teacher_checkpoint: path of a checkpoint with the teacher's ``state_dict``, plain or as Lightning writes it,
            loaded with ``weights_only=True``.
        shared: the keywords of :class:`~lightning_tricks.BatchTrick`: ``p``, ``start_epoch``, ...

    Raises:
        TypeError: an argument has the wrong type; at the first batch, the target is no tensor of class indices, or
            the teacher does not return a tensor.
        ValueError: an argument is out of its range, or the checkpoint is not the teacher's; at the first batch, the
            teacher's logits are NaN or do not fit the labels or the student's logits.
        MisconfigurationException: at setup, the teacher and the student share parameters.

    Example:
        >>> import torch
        >>> teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
        >>> images, labels = Distillation(teacher)((torch.ones(2, 3, 2, 2), torch.tensor([0, 4])))
        >>> labels.teachers
        ((4.0, 1.0, False),)

    References:
        Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv:1503.02531; in the form of He et al.,
        "Bag of Tricks for Image Classification", arXiv:1812.01187.
    """

    comes_last = True

    def __init__(
        self,
        teacher: nn.Module | Sequence[nn.Module],
        *,
        temperature: float = 4.0,
        weight: float = 1.0,
        kl: bool = False,
        teacher_output: Output | None = None,
        teacher_checkpoint: str | None = None,
        **shared: Unpack[BatchOptions],
    ) -> None:
        super().__init__(**shared)
        self._teacher = FrozenTeacher(
            self.name,
            teacher,
            checkpoint=teacher_checkpoint,
            temperature=temperature,
            weight=weight,
            output=teacher_output,
        )
        self.kl = check_flag(self.name, "kl", kl)
        self._autocast_dtypes: dict[str, torch.dtype] = {}

    @property
    def teacher(self) -> nn.Module | list[nn.Module]:
        """The teacher, or the teachers where there are several."""
        return self._teacher.given

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuses a teacher that is a part of the student, which it would have frozen."""
        self._teacher.check_apart_from(pl_module)
        self._teacher.checked = False
        super().setup(trainer, pl_module, stage)

    def draw(self, rng: np.random.Generator, images: Tensor) -> BatchParams:
        """Draws `active`."""
        return BatchParams(active=bool(rng.random() < self.p))

    def check_images(self, images: Tensor) -> None:
        """Accepts inputs of any shape; the teacher checks them."""

    def check_target(self, target: Any) -> None:
        """Raises for anything but class labels."""
        super().check_target(target)
        if not is_class_index(target):
            raise TypeError(f"{self.name} needs class labels (integers) as its one target, but got {describe(target)}.")

    def rewrite(self, batch: Any, rng: np.random.Generator, **kwargs: Any) -> tuple[Any, BatchParams]:
        """Draws and applies, with the autocast of the training step for the teacher."""
        devices = ("cpu", torch.accelerator.current_accelerator(check_available=True))
        self._autocast_dtypes = {
            str(device): torch.get_autocast_dtype(str(device))
            for device in devices
            if device is not None and torch.is_autocast_enabled(str(device))
        }
        return super().rewrite(batch, rng, **kwargs)

    def apply(self, params: Any, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Attaches the teacher's probabilities to the labels; if inactive, they only take the form of other batches."""
        device = images.device.type
        dtype = self._autocast_dtypes.get(device)
        with no_autocast(device) if dtype is None else torch.autocast(device, dtype=dtype):
            logits = self._teacher(images if params.active else images[:1])
        if not params.active:  # only the number of classes matters
            logits = [each.expand(len(images), *each.shape[1:]) if len(each) == 1 else each for each in logits]
        return images, SoftTarget.distil(
            target,
            logits,
            temperature=self._teacher.temperature,
            weight=self._teacher.weight,
            kl=self.kl,
            active=params.active,
        )
