"""The tensor: integer labels that remember the soft label they stand for, and the fence around it."""

import copy
import functools
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from lightning_tricks.functional.losses import teacher_log_probabilities
from lightning_tricks.functional.soft_nll import Spread, uniform_share
from lightning_tricks.soft_target.error import SoftTargetError, refusal

Teacher = tuple[float, float, bool]  # temperature, weight, kl

HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Torch function → handler(function, *args, **kwargs), which returns NotImplemented where it does not apply."""


class SoftTarget(Tensor):
    """Class labels that remember the soft label they stand for.

    To whatever only looks at it, a SoftTarget is an integer tensor of the target's shape. It carries K components
    (labels, weights): ``F.cross_entropy(logits, y)`` and the other losses that are linear in the label are exact,
    Σ_k w_k · loss(logits, labels_k); shape operations act on every component; a comparison with predictions of the
    same shape and torchmetrics see the *dominant* labels. Every other use raises :class:`SoftTargetError`, with
    gradients on or off, compiled or not. Made by :meth:`mix`, :meth:`smooth` and :meth:`distil`.

    Example:
        >>> import torch.nn.functional as F
        >>> y = SoftTarget.mix([torch.tensor([0, 1]), torch.tensor([1, 1])], [torch.tensor(0.75), torch.tensor(0.25)])
        >>> F.cross_entropy(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), y)
        tensor(0.4701)
        >>> y.hard
        tensor([0, 1])
    """

    _labels: Tensor  # (K, *shape)
    _weights: Tensor  # (K, *shape), float32
    _teacher: Tensor | None  # (M, N, C, …): log-probabilities of M teachers at their temperatures
    label_smoothing: float
    spread: Spread
    teachers: tuple[Teacher, ...]

    @staticmethod
    def __new__(
        cls: type["SoftTarget"],
        labels: Tensor,
        weights: Tensor,
        label_smoothing: float = 0.0,
        spread: Spread = "all",
        teacher: Tensor | None = None,
        teachers: tuple[Teacher, ...] = (),
    ) -> "SoftTarget":
        """Wraps stacked components; callers use :meth:`mix`, :meth:`smooth` and :meth:`distil`."""
        target = Tensor._make_wrapper_subclass(cls, labels.shape[1:], dtype=labels.dtype, device=labels.device)
        target._labels = labels
        target._weights = weights
        target._teacher = teacher
        target.label_smoothing = label_smoothing
        target.spread = spread
        target.teachers = teachers
        return target

    @classmethod
    def mix(cls, labels: Sequence[Tensor], weights: Sequence[Tensor]) -> "SoftTarget":
        """Mixes labels with weights.

        An entry that is a SoftTarget itself is composed: its components count with the product of the weights. The
        dominant label of a position has the largest summed weight; a tie goes to the entry that stands first.

        Args:
            labels: K integer tensors or SoftTargets of one shape, the original first.
            weights: K floating tensors; for each position they sum to 1. Each is 0-d, or (N,) and belongs to the
                first dimension, or has the full shape of the labels.

        Returns:
            A SoftTarget of the labels' shape, which shares no memory with them.

        Raises:
            TypeError: if a label is not an integer tensor or a weight not a floating one.
            ValueError: if lengths or shapes do not fit, or the entries differ in smoothing or carry a teacher.
        """
        if len(labels) == 0 or len(labels) != len(weights):
            raise ValueError(f"Expected as many weights as labels, but got {len(weights)} and {len(labels)}.")
        first = labels[0]
        for entry, weight in zip(labels, weights, strict=True):
            if not is_class_index(entry):
                kind = entry.dtype if isinstance(entry, Tensor) else type(entry).__name__
                raise TypeError(f"Expected labels to be integer tensors, but got {kind}.")
            if not (isinstance(weight, Tensor) and weight.is_floating_point()):
                kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
                raise TypeError(f"Expected weights to be floating tensors, but got {kind}.")
            if entry.shape != first.shape or weight.shape not in ((), first.shape[:1], first.shape):
                raise ValueError(
                    f"Expected labels of one shape and weights that are scalars, one a sample or of the same shape, "
                    f"but got {tuple(first.shape)}, {tuple(entry.shape)} and weights {tuple(weight.shape)}."
                )
        parts = [as_soft(entry) for entry in labels]
        check_agreement(parts)
        if parts[0].teachers:
            raise ValueError("Cannot mix labels that carry a teacher: Distillation comes after every mixing trick.")
        scaled = []
        for part, weight in zip(parts, weights, strict=True):
            factor = weight.float()
            if weight.ndim == 1:
                factor = factor.view(-1, *[1] * (first.ndim - 1))
            scaled.append(part._weights * factor)
        return cls(
            torch.cat([part._labels for part in parts]), torch.cat(scaled), parts[0].label_smoothing, parts[0].spread
        )

    @classmethod
    def smooth(cls, target: Tensor, label_smoothing: float, *, spread: Spread = "all") -> "SoftTarget":
        """Puts label smoothing aboard: every loss then spreads ε over the classes.

        Args:
            target: integer labels or a SoftTarget.
            label_smoothing: ε in [0, 1).
            spread: ``"all"`` or ``"others"``, as in :func:`lightning_tricks.functional.losses.soft_cross_entropy`.

        Returns:
            A SoftTarget with the components of the target.

        Raises:
            TypeError: if the target is not integer.
            ValueError: if an argument is out of range.
            SoftTargetError: if the target is smoothed already.
        """
        uniform_share(label_smoothing, spread, sys.maxsize)
        soft = as_soft(target)
        if not label_smoothing:
            return soft
        if soft.label_smoothing:
            raise SoftTargetError(
                f"The labels are smoothed already, by LabelSmoothing (label_smoothing={soft.label_smoothing}), and "
                f"would be smoothed again (label_smoothing={label_smoothing}). Leave one of them out."
            )
        return cls(soft._labels, soft._weights, label_smoothing, spread, soft._teacher, soft.teachers)

    @classmethod
    def distil(
        cls,
        target: Tensor,
        teacher_logits: Tensor | Sequence[Tensor],
        *,
        temperature: float = 4.0,
        weight: float = 1.0,
        kl: bool = False,
    ) -> "SoftTarget":
        """Puts a teacher aboard: cross-entropy then adds its distillation loss.

        Args:
            target: integer labels or a SoftTarget, (), (N,) or (N, d1, …).
            teacher_logits: floating, (C,), (N, C) or (N, C, d1, …); of a sequence the probabilities are averaged.
            temperature: T > 0.
            weight: of the distillation loss, at least 0.
            kl: whether the constant entropy of the teacher is left out.

        Returns:
            A SoftTarget with the components of the target.

        Raises:
            TypeError: if the target is not integer.
            ValueError: if shapes do not fit or an argument is out of range.
        """
        if not weight >= 0:
            raise ValueError(f"Expected `weight` to be at least 0, but got {weight}.")
        soft = as_soft(target)
        teacher = teacher_log_probabilities(teacher_logits, temperature=temperature).detach().unsqueeze(0)
        dim = min(soft.ndim, 1) + 1
        if teacher.shape[1:dim] + teacher.shape[dim + 1 :] != soft.shape:
            raise ValueError(
                f"Expected the teacher's logits to fit labels of shape {tuple(soft.shape)}, "
                f"but got {tuple(teacher.shape[1:])}."
            )
        if soft._teacher is not None:
            if soft._teacher.shape[1:] != teacher.shape[1:]:
                raise ValueError(
                    f"Expected teachers with logits of one shape, but got {tuple(soft._teacher.shape[1:])} and "
                    f"{tuple(teacher.shape[1:])}."
                )
            teacher = torch.cat([soft._teacher, teacher])
        return cls(
            soft._labels,
            soft._weights,
            soft.label_smoothing,
            soft.spread,
            teacher,
            (*soft.teachers, (float(temperature), float(weight), bool(kl))),
        )

    @property
    def components(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """The K pairs (labels, weights), views of what the losses use; the weights are float32."""
        return tuple(zip(self._labels.unbind(0), self._weights.unbind(0), strict=True))

    @property
    def hard(self) -> Tensor:
        """The dominant labels, a plain tensor: equal labels are added up first, a tie goes to the original."""
        labels, weights = self._labels, self._weights
        if labels.shape[0] == 1:
            return labels[0]
        scores = ((labels.unsqueeze(1) == labels.unsqueeze(0)) * weights).sum(1)
        return labels.gather(0, scores.argmax(0, keepdim=True)).squeeze(0)

    def probabilities(self, num_classes: int) -> Tensor:
        """Returns the plain probabilities, smoothing included: float32, (N, C) for labels (N,), (N, C, d1, …) else."""
        if self.is_floating_point():
            raise SoftTargetError("Labels that were cast to floating point have no class probabilities.")
        epsilon = uniform_share(self.label_smoothing, self.spread, num_classes)
        dim = min(self.ndim, 1)
        shape = (*self.shape[:dim], num_classes, *self.shape[dim:])
        dense = torch.zeros(shape, dtype=torch.float32, device=self.device)
        dense.scatter_add_(dim, self._labels.movedim(0, dim).long(), self._weights.movedim(0, dim))
        return (1 - epsilon) * dense + epsilon / num_classes if epsilon else dense

    def like(self, labels: Tensor, weights: Tensor, teacher: Tensor | None) -> "SoftTarget":
        """Returns a SoftTarget of other components with the same smoothing and the same kind of teachers."""
        return SoftTarget(labels, weights, self.label_smoothing, self.spread, teacher, self.teachers)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The policy: what is known to be right is done, all else is refused."""
        kwargs = kwargs or {}
        handler = HANDLERS.get(func)
        error = None
        if handler is not None:
            try:
                result = handler(func, *args, **kwargs)
            except SoftTargetError as refused:
                error = refused
            else:
                if result is not NotImplemented:
                    return result
        name: str = func.__name__
        if name in ("__get__", "__set__", "__delete__"):
            accessor = cast(Any, func).__self__
            name = getattr(accessor, "fget", accessor).__name__
        if name.startswith("_") and not name.startswith("__"):  # torch's internals read metadata; the fence stands
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if torch.compiler.is_compiling() or not inside_torchmetrics():
            raise error or refusal(name)
        args, kwargs = tree_map_only(SoftTarget, lambda target: target.hard, (args, kwargs))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own stub lacks the function
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The fence: whatever came past the policy (scripted, traced, vmapped, collective, …) is refused."""
        target = args[0] if func in _ALIASES else None
        if target is not None and type(target._labels) is not Tensor:  # the compiler's stand-ins alias one another
            teacher = None if target._teacher is None else func(target._teacher)
            return target.like(func(target._labels), func(target._weights), teacher)
        if not inside_torchmetrics():
            raise refusal(func.name())
        args, kwargs = tree_map_only(SoftTarget, lambda target: target.hard, (args, kwargs or {}))
        return func(*args, **kwargs)

    def __tensor_flatten__(self) -> tuple[list[str], tuple[float, Spread, tuple[Teacher, ...]]]:
        names = ["_labels", "_weights"] + ["_teacher"] * (self._teacher is not None)
        return names, (self.label_smoothing, self.spread, self.teachers)

    @staticmethod
    def __tensor_unflatten__(
        inner: dict[str, Tensor], context: tuple[float, Spread, tuple[Teacher, ...]], size: Any, stride: Any
    ) -> "SoftTarget":
        label_smoothing, spread, teachers = context
        return SoftTarget(inner["_labels"], inner["_weights"], label_smoothing, spread, inner.get("_teacher"), teachers)

    def _stable_hash_for_caching(self) -> str:
        names, context = self.__tensor_flatten__()
        inner = [getattr(self, name) for name in names]
        return repr((_source_digest(), context, [(t.dtype, tuple(t.shape), t.stride(), t.device) for t in inner]))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        state = (self._labels, self._weights, self.label_smoothing, self.spread, self._teacher, self.teachers)
        return SoftTarget, state

    def __deepcopy__(self, memo: dict[int, Any]) -> "SoftTarget":
        rebuild, state = self.__reduce_ex__(None)
        memo[id(self)] = result = rebuild(*copy.deepcopy(state, memo))
        return result

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # torch's stub misnames it
        return f"SoftTarget({self.hard}, components={self._labels.shape[0]})"


@functools.cache
def _source_digest() -> str:
    """A digest of what decides the numbers: the compiler's cache outlives a change of this package."""
    folder = Path(__file__).parent
    files = sorted([*folder.glob("*.py"), *(folder.parent / "functional").glob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_ALIASES = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)


def is_class_index(target: object) -> bool:
    """Whether this is a tensor of class labels: integers, no floating point, no bool."""
    return isinstance(target, Tensor) and target.dtype in _INTEGERS


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def as_soft(target: Tensor) -> SoftTarget:
    """Returns a SoftTarget as it is, and integer labels as one of a single component of weight 1."""
    if isinstance(target, SoftTarget):
        return target
    if not is_class_index(target):
        raise TypeError(f"Expected integer labels, but got {target.dtype}.")
    weights = torch.ones(target.shape, dtype=torch.float32, device=target.device)
    return SoftTarget(target.detach().unsqueeze(0), weights.unsqueeze(0))


def check_agreement(parts: Sequence[SoftTarget]) -> None:
    """Raises where labels that are put together differ in smoothing or in teachers."""
    kinds = {(part.label_smoothing, part.spread, part.teachers) for part in parts}
    if len(kinds) > 1:
        raise ValueError(f"Cannot put labels together that differ in smoothing or in teachers: {sorted(kinds)}.")


def inside_torchmetrics() -> bool:
    """Whether a metric of torchmetrics is on the stack: it sees hard labels.

    Its few differentiable functions are losses where no metric class stands above them, and are refused as losses are.
    """
    modules = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("torchmetrics."):
            modules.add(module)
        frame = frame.f_back
    return bool(modules) and ("torchmetrics.metric" in modules or not modules & _DIFFERENTIABLE)


_DIFFERENTIABLE = {
    "torchmetrics.functional.classification.hinge",
    "torchmetrics.functional.segmentation.dice",
    "torchmetrics.functional.segmentation.generalized_dice",
    "torchmetrics.functional.text.perplexity",
}
