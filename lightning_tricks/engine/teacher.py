"""A teacher that nothing trains, saves, copies or counts among the student's parameters."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from lightning_tricks.functional.checks import check_number

Output = str | int | Callable[[Any], Tensor]


class FrozenTeacher:
    """Holds one teacher, or an ensemble, and asks it for logits.

    This is no module, so that a student that holds it as an attribute does not take the teacher for a part of itself:
    it is neither in its ``parameters()`` nor in its ``state_dict``. A copy of the student shares it. The teachers are
    frozen and put into eval mode for good; every forward pass is in eval mode and under ``no_grad``, on the device of
    its input.

    Args:
        owner: the name of the trick, for messages.
        teacher: a module (a LightningModule is one) or several, whose probabilities are averaged.
        checkpoint: path of a checkpoint with the teacher's ``state_dict``, plain or as Lightning writes it.
        temperature: T > 0.
        weight: of the distillation loss, at least 0.
        output: which part of the teacher's output the logits are: a key, an index, an attribute's name or a function.
    """

    def __init__(
        self,
        owner: str,
        teacher: nn.Module | Sequence[nn.Module],
        *,
        checkpoint: str | None = None,
        temperature: float = 4.0,
        weight: float = 1.0,
        output: Output | None = None,
    ) -> None:
        self.owner = owner
        if not isinstance(teacher, nn.Module | list | tuple):
            raise TypeError(f"{owner} needs a teacher that is a module, or a list of them, but got {teacher!r}")
        self.modules = [teacher] if isinstance(teacher, nn.Module) else list(teacher)
        for module in self.modules:
            if not isinstance(module, nn.Module):
                raise TypeError(f"{owner} needs a teacher that is a module, but got {type(module).__name__}")
        if not self.modules:
            raise ValueError(f"{owner} needs at least one teacher, but got none")
        self.temperature = check_number(owner, "temperature", temperature, above=0.0)
        self.weight = check_number(owner, "weight", weight, low=0.0)
        if isinstance(output, bool) or not (output is None or isinstance(output, str | int) or callable(output)):
            raise TypeError(
                f"{owner} needs teacher_output to be a key, an index, an attribute's name or a function, but got "
                f"{output!r}"
            )
        self.output = output
        self.checked = False
        if checkpoint is not None:
            self._load(checkpoint)
        for module in self.modules:
            module.eval()
            for parameter in module.parameters():  # a scripted module has no requires_grad_
                parameter.requires_grad_(False)

    @property
    def given(self) -> nn.Module | list[nn.Module]:
        """The teacher, or the teachers where there are several."""
        return self.modules[0] if len(self.modules) == 1 else self.modules

    def check_apart_from(self, student: nn.Module) -> None:
        """Refuses a teacher that is a part of the student, or the other way round.

        Raises:
            MisconfigurationException: they share parameters.
        """
        own = {id(parameter) for parameter in student.parameters()}
        if any(id(parameter) in own for module in self.modules for parameter in module.parameters()):
            raise MisconfigurationException(
                f"{self.owner} has frozen its teacher, but the teacher shares parameters with the module that is "
                "trained; build the module again, give a copy (copy.deepcopy) as the teacher, and do not keep the "
                "teacher in the module"
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        return self

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        """Returns the logits of each teacher; the first time they are looked at for NaN and infinity.

        Raises:
            TypeError: the inputs or a teacher's output are not a tensor.
            ValueError: a teacher's output lacks the part that was asked for, or is NaN or infinite.
        """
        if not isinstance(inputs, Tensor):
            raise TypeError(f"{self.owner} needs inputs for its teacher as one tensor, but got {_describe(inputs)}")
        logits = []
        for module in self.modules:
            parameter = next(module.parameters(), None)
            if parameter is not None and not inputs.is_meta and parameter.device != inputs.device:
                module.to(inputs.device)
            seen = inputs
            if parameter is not None and inputs.is_floating_point() and not _under_autocast(inputs.device.type):
                seen = inputs.to(parameter.dtype)
            with torch.no_grad(), _in_eval_mode(module):
                logits.append(self._pick(module(seen)))
        if not self.checked and not logits[0].is_meta:
            # an infinite logit, as of a teacher that overflows in float16, is NaN after the softmax
            if any(bool((each.isnan() | each.isposinf()).any()) for each in logits):
                raise ValueError(f"{self.owner} needs finite logits, but got NaN from its teacher, or infinity")
            self.checked = True
        return logits

    def _pick(self, output: Any) -> Tensor:
        which = self.output
        if callable(which):
            output = which(output)
        elif isinstance(which, str) and not isinstance(output, Mapping) and hasattr(output, which):
            output = getattr(output, which)
        elif which is not None:
            try:
                output = output[which]
            except (LookupError, TypeError) as error:
                raise ValueError(
                    f"{self.owner} finds no {which!r} in its teacher's output, {_describe(output)}"
                ) from error
        if not isinstance(output, Tensor):
            raise TypeError(
                f"{self.owner} needs a teacher that returns logits, but got {_describe(output)}; teacher_output= picks "
                "the part that is meant"
            )
        return output

    def _load(self, checkpoint: str) -> None:
        if len(self.modules) > 1:
            raise ValueError(f"{self.owner} loads a checkpoint into one teacher, but got {len(self.modules)}")
        if not isinstance(checkpoint, str | os.PathLike):
            raise TypeError(f"{self.owner} needs teacher_checkpoint to be a path, but got {checkpoint!r}")
        module, path = self.modules[0], os.fspath(checkpoint)
        need = f"{self.owner} needs a checkpoint with the state_dict of its teacher, a {type(module).__name__}"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{need}, but {path!r} holds more than tensors and plain values; save the weights alone, with "
                "torch.save(teacher.state_dict(), path)"
            ) from error
        state = state.get("state_dict", state) if isinstance(state, Mapping) else state
        if not isinstance(state, Mapping):
            raise ValueError(f"{need}, but {path!r} holds a {type(state).__name__}")
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{need}, but got {path!r}: {error}") from error


@contextlib.contextmanager
def _in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Whoever else holds the teacher may have put it into training mode since; it finds it as it was."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _under_autocast(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def _describe(output: Any) -> str:
    keys = f" with {', '.join(map(repr, output))}" if isinstance(output, Mapping) else ""
    return f"a {type(output).__name__}{keys}"
