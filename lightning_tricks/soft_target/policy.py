"""The handlers of all that is no loss: metadata, structure, joins, casts, copies, comparisons, the hard view."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from lightning_tricks.soft_target.state import Origins, refusal
from lightning_tricks.soft_target.tensor import HANDLERS, SoftTarget, as_soft, check_agreement, is_class_index


def _functions(names: str) -> Iterable[Callable[..., Any]]:
    """The functions and tensor methods of these names."""
    for name in names.split():
        for owner in (torch, Tensor):
            if hasattr(owner, name):
                yield getattr(owner, name)


def _getters(names: str) -> Iterable[Callable[..., Any]]:
    return (getattr(Tensor, name).__get__ for name in names.split())


def _metadata(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with torch._C.DisableTorchFunctionSubclass():
        return func(*args, **kwargs)


def _structure(func: Callable[..., Any], target: Any, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(target, SoftTarget):
        return _shaped_like(func, target, *args, **kwargs)
    if kwargs.get("out") is not None:
        return NotImplemented  # each component would be written over the one before
    if any(isinstance(leaf, SoftTarget | torch.dtype) for leaf in tree_leaves((args, kwargs))):
        return NotImplemented  # a soft index, or `view(dtype)`, which reads the bits again
    origins = None if _has_index(func, args, kwargs) else target._origins
    labels = [func(part, *args, **kwargs) for part in target._labels.unbind(0)]
    weights = [func(part, *args, **kwargs) for part in target._weights.unbind(0)]
    if isinstance(labels[0], Tensor):
        teacher = _teacher_rows(func, target, labels[0].shape, *args, **kwargs)
        if labels[0].numel() > target.numel():
            origins = None
        return target.like(torch.stack(labels), torch.stack(weights), teacher, origins)
    pieces = []
    for index in range(len(labels[0])):
        piece_labels = torch.stack([part[index] for part in labels])
        piece_weights = torch.stack([part[index] for part in weights])

        def piece(positions: Tensor, index: int = index) -> Tensor:
            return func(positions, *args, **kwargs)[index]

        piece.__name__ = func.__name__  # for the refusal
        teacher = _teacher_rows(piece, target, piece_labels.shape[1:])
        pieces.append(target.like(piece_labels, piece_weights, teacher, origins))
    return tuple(pieces)


def _has_index(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether positions are chosen by numbers, which may choose one twice; slices and masks do not."""
    key = args[0] if func is Tensor.__getitem__ else None
    indices = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor | np.ndarray)]
    lists = [part for part in (key if isinstance(key, tuple) else (key,)) if isinstance(part, list | range)]
    if any(str(index.dtype) not in ("torch.bool", "bool") for index in indices):
        return True
    return any(not isinstance(leaf, bool | Tensor | np.ndarray) for leaf in tree_leaves(lists))


def _teacher_rows(
    func: Callable[..., Any], target: SoftTarget, shape: torch.Size, *args: Any, **kwargs: Any
) -> Tensor | None:
    """Returns the teachers' rows of the positions that ``func`` takes from a target."""
    if target._teacher is None:
        return None
    of_one_sample = target.ndim == 1 and len(shape) == 0
    if not of_one_sample and (len(shape) != target.ndim or shape[1:] != target.shape[1:]):
        raise refusal(target, func.__name__, "cannot reshape more than the batch dimension")
    positions = func(torch.arange(target.numel(), device=target.device).view(target.shape), *args, **kwargs)
    class_last = target._teacher.movedim(min(target.ndim, 1) + 1, -1)
    rows = class_last.reshape(class_last.shape[0], -1, class_last.shape[-1])[:, positions]
    return rows.movedim(-1, min(len(shape), 1) + 1)


def _shaped_like(func: Callable[..., Any], tensor: Tensor, other: Any = None, *args: Any, **kwargs: Any) -> Any:
    """A plain tensor that takes only its shape or dtype from soft labels: ``pred.view_as(y)``."""
    if func not in _LIKE or not isinstance(other, SoftTarget):
        return NotImplemented
    return func(tensor, other._labels[0], *args, **kwargs)


def _like(func: Callable[..., Any], target: Any, other: Any) -> Any:
    if isinstance(target, SoftTarget):
        return getattr(target, func.__name__.removesuffix("_as"))(other.shape)
    return _shaped_like(func, target, other)


def _iterate(func: Callable[..., Any], target: SoftTarget) -> Any:
    return iter(target.unbind(0))


def _join(func: Callable[..., Any], tensors: Any, *args: Any, **kwargs: Any) -> Any:
    if kwargs.get("out") is not None or not all(isinstance(t, SoftTarget) or is_class_index(t) for t in tensors):
        return NotImplemented
    parts = [as_soft(tensor) for tensor in tensors]
    origins = _joint_origins(parts)
    try:
        check_agreement(parts)
    except ValueError as error:
        raise refusal(
            parts[0], func.__name__, "joins labels that differ in smoothing or in teachers", _ALIKE
        ) from error
    count = max(part._labels.shape[0] for part in parts)
    labels, weights = [], []
    for k in range(count):
        # a part with fewer components repeats its first label with weight 0
        labels.append(func([p._labels[k if k < len(p._labels) else 0] for p in parts], *args, **kwargs))
        weights.append(
            func([p._weights[k] if k < len(p._weights) else p._weights[0] * 0 for p in parts], *args, **kwargs)
        )
    teacher = None
    if parts[0]._teacher is not None:
        if func not in _CONCATENATE or (args or tuple(kwargs.values()) or (0,)) != (0,):
            raise refusal(parts[0], func.__name__, "can only join along the batch dimension")
        teacher = torch.cat([part._teacher for part in parts if part._teacher is not None], 1)
    return parts[0].like(torch.stack(labels), torch.stack(weights), teacher, origins)


def _joint_origins(parts: list[SoftTarget]) -> Origins:
    """Returns the origins of all parts; ``None`` where two stem from the same labels, or compiled code cannot tell."""
    if len(parts) == 1:
        return parts[0]._origins
    joint: frozenset[object] = frozenset()
    for part in parts:
        if not part._origins or joint & part._origins:
            return None
        joint |= part._origins
    return joint


def _cast(func: Callable[..., Any], target: Any, *args: Any, **kwargs: Any) -> Any:
    args = tuple(arg._labels if isinstance(arg, SoftTarget) else arg for arg in args)
    if not isinstance(target, SoftTarget):  # `logits.to(y)` and similar calls need only dtype and device
        return func(target, *args, **kwargs)
    labels = func(target._labels, *args, **kwargs)
    if not isinstance(labels, Tensor):  # `y.type()` is a string
        return labels
    if not (labels.is_floating_point() or is_class_index(labels)):
        return NotImplemented
    if labels.is_floating_point() and (target.label_smoothing or target.teachers):
        # One-hot and multi-hot labels of integers: only as numbers can they be smoothed.
        ways_out = "Make them float in the data set: y.float()." if target.ndim > 1 and not target.teachers else ""
        raise refusal(target, func.__name__, "cannot cast to floating point", ways_out)
    weights, teacher = target._weights, target._teacher
    if labels.device != weights.device:
        non_blocking = bool(kwargs.get("non_blocking", False))
        weights = weights.to(labels.device, non_blocking=non_blocking)
        teacher = None if teacher is None else teacher.to(labels.device, non_blocking=non_blocking)
    return target.like(labels, weights, teacher, target._origins)


def _copy(func: Callable[..., Any], target: SoftTarget, *args: Any, **kwargs: Any) -> Any:
    labels, weights = func(target._labels, *args, **kwargs), func(target._weights, *args, **kwargs)
    teacher = None if target._teacher is None else func(target._teacher, *args, **kwargs)
    return target.like(labels, weights, teacher, target._origins)


def _compare(func: Callable[..., Any], one: Any, other: Any, **kwargs: Any) -> Any:
    target, plain = (one, other) if isinstance(one, SoftTarget) else (other, one)
    if kwargs or not isinstance(plain, Tensor) or isinstance(plain, SoftTarget) or plain.shape != target.shape:
        return NotImplemented
    if plain.is_floating_point() or plain.is_complex():
        return NotImplemented
    if target._origins is None:
        reason = "compares labels of which one may stand at several positions: a one-hot in disguise"
        ways_out = "Use hard_labels(y), or compare before labels are expanded, repeated, indexed or joined with copies."
        raise refusal(target, func.__name__, reason, ways_out)
    if any(stride == 0 and size > 1 for stride, size in zip(plain.stride(), plain.shape, strict=True)):
        return NotImplemented  # an expanded row of class numbers: a one-hot in disguise
    return func(target.hard, plain)


def _hard(func: Callable[..., Any], target: SoftTarget, *args: Any, **kwargs: Any) -> Any:
    return func(target.hard, *args, **kwargs)


_ALIKE = "Use LabelSmoothing and Distillation on all of them or on none."
_LIKE = frozenset(_functions("view_as reshape_as expand_as"))
_CONCATENATE = frozenset(_functions("cat concat concatenate"))

_POLICY: tuple[tuple[Callable[..., Any], Iterable[Callable[..., Any]]], ...] = (
    (
        _metadata,
        [
            *_functions(
                "size dim ndimension numel nelement stride storage_offset element_size get_device is_contiguous "
                "is_floating_point is_complex is_signed is_conj is_neg is_inference is_same_size is_pinned is_tensor "
                "untyped_storage __len__ __hash__"
            ),
            *_getters(
                "shape dtype device layout ndim requires_grad grad grad_fn is_leaf retains_grad itemsize nbytes "
                "is_cuda is_cpu is_meta is_mps is_xla is_xpu is_ipu is_maia is_mtia is_vulkan is_mkldnn "
                "is_sparse is_sparse_csr is_quantized is_nested _version _base _backward_hooks output_nr"
            ),
        ],
    ),
    (
        _structure,
        [
            *_functions(
                "__getitem__ view reshape flatten ravel unflatten squeeze unsqueeze expand broadcast_to permute "
                "transpose swapaxes movedim t repeat tile repeat_interleave roll flip narrow select index_select "
                "masked_select unbind chunk split tensor_split"
            ),
            *_getters("T mT"),
            torch.ops.aten.numpy_T,  # what Dynamo makes of `T`
        ],
    ),
    (_like, _LIKE),
    (_iterate, [Tensor.__iter__]),
    (_join, [*_CONCATENATE, torch.stack]),
    (_cast, _functions("to long int short float double half bfloat16 type type_as cpu cuda")),
    (_copy, [*_functions("clone detach contiguous pin_memory"), *_getters("data")]),
    (_compare, _functions("eq ne not_equal equal __eq__ __ne__")),
    (_hard, [Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__format__]),
)

HANDLERS.update({function: handler for handler, functions in _POLICY for function in functions})
