"""The data of a soft target, its copies, pickles and form for the compiler, and the error for its wrong uses."""

from __future__ import annotations

import copy
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_tricks.functional.losses import Spread, uniform_share

if TYPE_CHECKING:
    from typing_extensions import Self

Teacher = tuple[float, float, bool]  # temperature, weight, kl
Context = tuple[float, Spread, tuple[Teacher, ...], bool]
Origins = frozenset[object] | None


class SoftTargetError(RuntimeError):
    """Soft labels were used in a way that is not known to be right.

    Not a TypeError: inside an operator that would turn into Python's ``False``.
    """


class WeightedLabels(Tensor):
    """A tensor without its own storage that holds K labels and weights per position; SoftTarget adds the policy."""

    _labels: Tensor  # (K, *shape)
    _weights: Tensor  # (K, *shape), float32
    _teacher: Tensor | None  # (M, N, C, …): log-probabilities of M teachers at their temperatures
    label_smoothing: float
    spread: Spread
    teachers: tuple[Teacher, ...]
    _origins: Origins  # what the positions stem from; None where one label may stand at several of them
    _smooths: Tensor | None  # bool (): whether the smoothing counts, as data, so that a compiled module has one graph

    @staticmethod
    def __new__(
        cls: type[WeightedLabels],
        labels: Tensor,
        weights: Tensor,
        label_smoothing: float = 0.0,
        spread: Spread = "all",
        teacher: Tensor | None = None,
        teachers: tuple[Teacher, ...] = (),
        origins: Origins = frozenset(),
        smooths: Tensor | None = None,
    ) -> WeightedLabels:
        """Wraps stacked components."""
        target = Tensor._make_wrapper_subclass(cls, labels.shape[1:], dtype=labels.dtype, device=labels.device)
        if not torch.compiler.is_compiling():
            # `plain.data = y` and DLPack come past every policy: without this the first read is of no memory
            torch._C._set_storage_data_ptr_access_error_msg(target.untyped_storage()._cdata, _NO_DATA)
        target._labels = labels
        target._weights = weights
        target._teacher = teacher
        target.label_smoothing = label_smoothing
        target.spread = spread
        target.teachers = teachers
        target._origins = origins
        target._smooths = smooths
        return target

    @property
    def components(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """The K pairs (labels, weights), copies of what the losses use; the weights are float32."""
        return tuple(zip(self._labels.clone().unbind(0), self._weights.clone().unbind(0), strict=True))

    @property
    def hard(self) -> Tensor:
        """The dominant labels, a plain tensor: equal labels are added up first, a tie goes to the original."""
        labels, weights = self._labels, self._weights
        if labels.shape[0] == 1:
            return labels[0].clone()
        scores = ((labels.unsqueeze(1) == labels.unsqueeze(0)) * weights).sum(1)
        return labels.gather(0, scores.argmax(0, keepdim=True)).squeeze(0)

    def probabilities(self, num_classes: int) -> Tensor:
        """Returns the plain probabilities, smoothing included: float32, (N, C) for labels (N,), (N, C, d1, …) else."""
        if self.is_floating_point():
            raise refusal(
                self, "probabilities", "needs integer labels, but got labels cast to floating point", BEFORE_CAST
            )
        epsilon = uniform_share(self.label_smoothing, self.spread, num_classes)
        dim = min(self.ndim, 1)
        shape = (*self.shape[:dim], num_classes, *self.shape[dim:])
        dense = torch.zeros(shape, dtype=torch.float32, device=self.device)
        dense.scatter_add_(dim, self._labels.movedim(0, dim).long(), self._weights.movedim(0, dim))
        if not epsilon:
            return dense
        smoothed = (1 - epsilon) * dense + epsilon / num_classes
        return smoothed if self._smooths is None else torch.where(self._smooths, smoothed, dense)

    def like(self, labels: Tensor, weights: Tensor, teacher: Tensor | None, origins: Origins) -> Self:
        """Returns labels of other components with the same smoothing and the same kind of teachers."""
        smooths = self._smooths
        if smooths is not None and smooths.device != labels.device:
            smooths = smooths.to(labels.device, non_blocking=True)
        return type(self)(labels, weights, self.label_smoothing, self.spread, teacher, self.teachers, origins, smooths)

    def __tensor_flatten__(self) -> tuple[list[str], Context]:
        names = ["_labels", "_weights", "_teacher", "_smooths"]
        names = [name for name in names if getattr(self, name) is not None]
        return names, (self.label_smoothing, self.spread, self.teachers, self._origins is None)

    @classmethod
    def __tensor_unflatten__(cls, inner: dict[str, Tensor], context: Context, size: Any, stride: Any) -> Self:
        label_smoothing, spread, teachers, repeats = context
        origins: Origins = None if repeats else frozenset()
        teacher, smooths = inner.get("_teacher"), inner.get("_smooths")
        return cls(inner["_labels"], inner["_weights"], label_smoothing, spread, teacher, teachers, origins, smooths)

    def _stable_hash_for_caching(self) -> str:
        names, context = self.__tensor_flatten__()
        inner = [getattr(self, name) for name in names]
        return repr((_source_digest(), context, [(t.dtype, tuple(t.shape), t.stride(), t.device) for t in inner]))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        settings = (self.label_smoothing, self.spread, self._teacher, self.teachers, self._origins, self._smooths)
        return type(self), (self._labels, self._weights, *settings)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        rebuild, state = self.__reduce_ex__(None)
        memo[id(self._origins)] = self._origins  # a copy stems from the same labels
        memo[id(self)] = result = rebuild(*copy.deepcopy(state, memo))
        return result

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # torch's stub misnames it
        return f"SoftTarget({self.hard}, components={self._labels.shape[0]})"


def refusal(
    target: WeightedLabels | None, operation: str, reason: str = "is not known to be right", ways_out: str = ""
) -> SoftTargetError:
    """Returns the error: what was used, on what, and at most three ways out that apply to these labels."""
    carried: list[str] = []
    if target is not None:
        carried = ["label smoothing"] * bool(target.label_smoothing) + ["a teacher"] * bool(target.teachers)
    what = f"a SoftTarget{' with ' * bool(carried)}{' and '.join(carried)}"
    return SoftTargetError(f"`{operation}` on {what} {reason}. {ways_out or _ways_out(target, operation)}")


def _ways_out(target: WeightedLabels | None, operation: str) -> str:
    """Returns what to use in place of an operation that is refused."""
    dense = "soft_labels(y, num_classes)"
    if target is not None and (target.label_smoothing or target.teachers):
        ways = ["F.cross_entropy(logits, y)"] + [dense] * (not target.teachers)
    elif target is not None and target._labels.is_floating_point():
        ways = ['labels="sample"']
    else:
        makes_dense = operation == "one_hot" or "scatter" in operation
        ways = [dense if makes_dense else "mixed_loss(criterion, logits, y)", 'labels="sample"']
    return f"Use {' or '.join(ways)} in a loss, hard_labels(y) in a metric."


BEFORE_CAST = "Use the labels before the cast."
_NO_DATA = (
    "A SoftTarget has no data to read as a plain tensor (by `.data =`, DLPack or its storage). Use hard_labels(y) or "
    "soft_labels(y, num_classes)."
)


@functools.cache
def _source_digest() -> str:
    """A digest of what decides the numbers: the compiler's cache outlives a change of this package."""
    folder = Path(__file__).parent
    files = sorted([*folder.glob("*.py"), *(folder.parent / "functional").glob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
