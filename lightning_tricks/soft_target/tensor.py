"""The SoftTarget tensor: its constructors, the policy for torch functions and the fence below it."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from lightning_tricks.functional.losses import Spread, teacher_log_probabilities, uniform_share
from lightning_tricks.soft_target.state import SoftTargetError, WeightedLabels, refusal
from lightning_tricks.soft_target.torchmetrics_frames import is_below_torchmetrics, sees_hard_labels

HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Torch function → handler(function, *args, **kwargs), which returns NotImplemented where it does not apply."""


class SoftTarget(WeightedLabels):
    """Class labels that remember the soft label they stand for.

    To whatever only looks at it, a SoftTarget is an integer tensor of the target's shape. It carries K components
    (labels, weights): ``F.cross_entropy(logits, y)`` and the other losses that are linear in the label are exact,
    Σ_k w_k · loss(logits, labels_k); shape operations act on every component; a comparison with predictions of the
    same shape and torchmetrics see the *dominant* labels. Every other use raises :class:`SoftTargetError`, with
    gradients on or off, compiled or not. Made by :meth:`mix`, :meth:`smooth` and :meth:`distil`.

    Example:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> y = SoftTarget.mix([torch.tensor([0, 1]), torch.tensor([1, 1])], [torch.tensor(0.75), torch.tensor(0.25)])
        >>> F.cross_entropy(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), y)
        tensor(0.4701)
        >>> y.hard
        tensor([0, 1])
    """

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
            ValueError: if lengths, shapes or devices do not fit, or the entries differ in smoothing or carry a teacher.
        """
        if len(labels) == 0 or len(labels) != len(weights):
            raise ValueError(
                f"SoftTarget.mix needs as many weights as labels, at least 1, but got {len(weights)} and {len(labels)}."
            )
        first = labels[0]
        for entry, weight in zip(labels, weights, strict=True):
            if not is_class_index(entry):
                raise TypeError(f"SoftTarget.mix needs labels to be integer tensors, but got {_kind(entry)}.")
            if not (isinstance(weight, Tensor) and weight.is_floating_point()):
                raise TypeError(f"SoftTarget.mix needs weights to be floating tensors, but got {_kind(weight)}.")
            if entry.shape != first.shape or weight.shape not in ((), first.shape[:1], first.shape):
                raise ValueError(
                    "SoftTarget.mix needs labels of one shape, and weights that are scalars, one per sample or of that "
                    f"shape, but got {tuple(first.shape)}, {tuple(entry.shape)} and weights {tuple(weight.shape)}."
                )
        devices = {part.device for part in (*labels, *weights)}
        if len(devices) > 1:
            raise ValueError(
                f"SoftTarget.mix needs labels and weights on one device, but got {sorted(map(str, devices))}. Move the "
                "weights with weight.to(labels.device)."
            )
        spread_out = [_of_shape(weight, first) for weight in weights]
        if not any(isinstance(entry, SoftTarget) for entry in labels):
            return cls(torch.stack(tuple(labels)), torch.stack(spread_out), origins=new_origins())
        parts = [as_soft(entry) for entry in labels]
        check_agreement(parts)
        if parts[0].teachers:
            raise ValueError(
                "SoftTarget.mix needs labels without a teacher, but got some with one: Distillation comes after every "
                "mixing trick."
            )
        return cls(
            torch.cat([part._labels for part in parts]),
            torch.cat([part._weights * weight for part, weight in zip(parts, spread_out, strict=True)]),
            parts[0].label_smoothing,
            parts[0].spread,
            origins=None if any(part._origins is None for part in parts) else new_origins(),
            smooths=parts[0]._smooths,
        )

    @classmethod
    def smooth(
        cls, target: Tensor, label_smoothing: float, *, spread: Spread = "all", active: bool | None = None
    ) -> "SoftTarget":
        """Attaches label smoothing: every loss then spreads ε over the classes.

        Args:
            target: integer labels or a SoftTarget.
            label_smoothing: ε in [0, 1).
            spread: ``"all"`` or ``"others"``, as in :func:`lightning_tricks.functional.losses.soft_cross_entropy`.
            active: ``False`` attaches smoothing that does not count. Labels with ``True`` and ``False`` have one form,
                so a compiled module has one graph for both. ``None`` stands for smoothing that always counts.

        Returns:
            A SoftTarget with the components of the target, which shares no memory with it.

        Raises:
            TypeError: if the target is not integer.
            ValueError: if an argument is out of range.
            SoftTargetError: if the target is smoothed already.
        """
        uniform_share(label_smoothing, spread, sys.maxsize)
        soft = _as_class_labels(target)
        if not label_smoothing:
            return soft
        if soft.label_smoothing:
            raise SoftTargetError(
                "SoftTarget.smooth needs labels that are not smoothed already, but got some that LabelSmoothing "
                f"(label_smoothing={soft.label_smoothing}) made and would be smoothed again "
                f"(label_smoothing={label_smoothing}). Leave one of them out."
            )
        smooths = None if active is None else torch.full((), active, dtype=torch.bool, device=soft.device)
        teacher, teachers = soft._teacher, soft.teachers
        return cls(soft._labels, soft._weights, label_smoothing, spread, teacher, teachers, soft._origins, smooths)

    @classmethod
    def distil(
        cls,
        target: Tensor,
        teacher_logits: Tensor | Sequence[Tensor],
        *,
        temperature: float = 4.0,
        weight: float = 1.0,
        kl: bool = False,
        active: bool = True,
    ) -> "SoftTarget":
        """Attaches a teacher: cross-entropy then adds its distillation loss.

        Args:
            target: integer labels or a SoftTarget, (), (N,) or (N, d1, …).
            teacher_logits: floating, (C,), (N, C) or (N, C, d1, …); of a sequence the probabilities are averaged.
            temperature: T > 0.
            weight: of the distillation loss, at least 0.
            kl: whether the constant entropy of the teacher is left out.
            active: ``False`` attaches a teacher that does not count; the labels have the form of other batches, so a
                compiled module has one graph for both.

        Returns:
            A SoftTarget with the components of the target.

        Raises:
            TypeError: if the target is not integer.
            ValueError: if shapes or devices do not fit or an argument is out of range.
        """
        if not weight >= 0:
            raise ValueError(f"SoftTarget.distil needs weight to be at least 0, but got {weight}.")
        soft = _as_class_labels(target)
        teacher = teacher_log_probabilities(teacher_logits, temperature=temperature).detach().unsqueeze(0)
        if not active:
            teacher = torch.full_like(teacher, -torch.inf)  # a class of probability 0 adds nothing to the loss
        dim = min(soft.ndim, 1) + 1
        if teacher.shape[1:dim] + teacher.shape[dim + 1 :] != soft.shape:
            raise ValueError(
                f"SoftTarget.distil needs the teacher's logits to fit labels of shape {tuple(soft.shape)}, but got "
                f"{tuple(teacher.shape[1:])}."
            )
        if teacher.device != soft.device:
            raise ValueError(
                f"SoftTarget.distil needs the teacher's logits on the labels' device, {soft.device}, but got "
                f"{teacher.device}. Move them with logits.to(labels.device)."
            )
        if soft._teacher is not None:
            if soft._teacher.shape[1:] != teacher.shape[1:]:
                raise ValueError(
                    f"SoftTarget.distil needs teachers with logits of one shape, but got "
                    f"{tuple(soft._teacher.shape[1:])} and {tuple(teacher.shape[1:])}."
                )
            teacher = torch.cat([soft._teacher, teacher])
        teachers = (*soft.teachers, (float(temperature), float(weight), bool(kl)))
        smoothing = (soft.label_smoothing, soft.spread)
        return cls(soft._labels, soft._weights, *smoothing, teacher, teachers, soft._origins, soft._smooths)

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
        if not args and "input" in kwargs:  # `torch.flatten(input=y)`
            kwargs = dict(kwargs)
            args = (kwargs.pop("input"),)
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
        if not sees_hard_labels():
            raise error or _refusal(name, (args, kwargs))
        args, kwargs = tree_map_only(SoftTarget, lambda target: target.hard, (args, kwargs))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own stub lacks the function
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The fence: whatever came past the policy (scripted, traced, vmapped, collective, …) is refused."""
        target = args[0] if func in _ALIASES else None
        if target is not None and type(target._labels) is not Tensor:  # the compiler's stand-ins alias one another
            teacher = None if target._teacher is None else func(target._teacher)
            return target.like(func(target._labels), func(target._weights), teacher, target._origins)
        if not sees_hard_labels():
            raise _refusal(func.name(), (args, kwargs))
        args, kwargs = tree_map_only(SoftTarget, lambda target: target.hard, (args, kwargs or {}))
        return func(*args, **kwargs)


def _refusal(operation: str, arguments: Any) -> SoftTargetError:
    """Returns the error for an operation that is not allowed, with the ways out of the code that asks."""
    target = next((leaf for leaf in tree_leaves(arguments) if isinstance(leaf, SoftTarget)), None)
    return refusal(target, operation, ways_out=_METRIC_WAYS_OUT if is_below_torchmetrics() else "")


_METRIC_WAYS_OUT = "Use metric(logits.detach(), hard_labels(y))."
_ALIASES = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)


def is_class_index(target: object) -> bool:
    """Whether this is a tensor of class labels: integers, no floating point, no bool."""
    return isinstance(target, Tensor) and target.dtype in _INTEGERS


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def as_soft(target: Tensor) -> SoftTarget:
    """Returns a SoftTarget as it is, and integer labels as one of a single component of weight 1."""
    if isinstance(target, SoftTarget):
        return target
    _check_class_index(target)
    weights = torch.ones(target.shape, dtype=torch.float32, device=target.device)
    return SoftTarget(target.detach().clone().unsqueeze(0), weights.unsqueeze(0), origins=new_origins())


def new_origins() -> frozenset[object]:
    """Returns a token of labels that were made here, by which their copies know one another."""
    return frozenset() if torch.compiler.is_compiling() else frozenset((object(),))


def _as_class_labels(target: Tensor) -> SoftTarget:
    """Like :func:`as_soft`, but refuses a SoftTarget that was cast to floating point."""
    _check_class_index(target)
    return as_soft(target)


def _check_class_index(target: Tensor) -> None:
    if not is_class_index(target):
        raise TypeError(f"SoftTarget needs integer labels, but got {_kind(target)}.")


def _kind(value: object) -> torch.dtype | str:
    """Returns the dtype of a tensor, the class name of anything else."""
    return value.dtype if isinstance(value, Tensor) else type(value).__name__


def _of_shape(weight: Tensor, labels: Tensor) -> Tensor:
    """The weight as a float32 tensor of the labels' shape."""
    weight = weight.float()
    if weight.ndim == 1 < labels.ndim:
        weight = weight.view(-1, *[1] * (labels.ndim - 1))
    return weight.expand(labels.shape)


def check_agreement(parts: Sequence[SoftTarget]) -> None:
    """Raises where labels that are put together differ in smoothing or in teachers."""
    kinds = {(part.label_smoothing, part.spread, part.teachers) for part in parts}
    if len(kinds) > 1:
        raise ValueError(
            f"SoftTarget needs labels that do not differ in smoothing or teachers, but got {sorted(kinds)}."
        )
    first = parts[0]._smooths
    if any(part._smooths is not first and not _is_same(part._smooths, first) for part in parts):
        raise ValueError("SoftTarget needs labels that are all smoothed or all not smoothed, but got both.")


def _is_same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two flags are equal, as far as it is known where code is compiled."""
    if one is None or other is None or torch.compiler.is_compiling():
        return False
    return bool(one == other)
