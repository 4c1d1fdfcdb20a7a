"""The torch losses that know soft labels."""

import sys
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_tricks.functional.losses import (
    Reduction,
    Spread,
    class_dim,
    compute_dtype,
    distillation_terms,
    reduce_loss,
    result_dtype,
    soft_nll_loss,
    uniform_share,
)
from lightning_tricks.soft_target.state import BEFORE_CAST, refusal
from lightning_tricks.soft_target.tensor import HANDLERS, SoftTarget, is_class_index


def _class_loss(
    func: Callable[..., Any],
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """``F.cross_entropy`` and ``F.nll_loss``, with the smoothing and the teachers attached."""
    if isinstance(input, SoftTarget) or isinstance(weight, SoftTarget) or not isinstance(target, SoftTarget):
        return NotImplemented
    if size_average is not None or reduce is not None:
        raise refusal(target, func.__name__, "takes no deprecated `size_average=` and `reduce=`", "Use `reduction=`.")
    if not is_class_index(target._labels):
        one_hot = target.ndim > 1 and target.shape == input.shape
        ways_out = "Make them float in the data set: y.float()." if one_hot else BEFORE_CAST
        raise refusal(target, func.__name__, f"needs integer labels, but got {target.dtype}", ways_out)
    if label_smoothing and target.label_smoothing:
        both = f"LabelSmoothing (label_smoothing={target.label_smoothing}) and the criterion's own {label_smoothing=}"
        raise refusal(target, func.__name__, f"needs one smoothing, but got {both}", "Leave one of them out.")
    epsilon = label_smoothing or target.label_smoothing
    spread: Spread = "all" if label_smoothing else target.spread

    def label_loss(epsilon: float) -> Tensor:
        """Returns the loss of the labels without teachers."""
        if len(target._labels) == 1 and not (epsilon and func is F.nll_loss):
            return _plain_class_loss(func, input, target, weight, ignore_index, reduction, epsilon, spread)
        return soft_nll_loss(
            input,
            target._labels,
            target._weights,
            normalized=func is F.nll_loss,
            class_weights=weight,
            ignore_index=ignore_index,
            label_smoothing=epsilon,
            spread=spread,
            reduction=reduction,
        )

    loss = label_loss(epsilon)
    if target._smooths is not None:
        loss = torch.where(target._smooths, loss, label_loss(0.0))
    if target._teacher is not None:
        counted = counted_weights(target, ignore_index)
        terms = torch.zeros_like(counted)
        for teacher, (temperature, teacher_weight, kl) in zip(target._teacher.unbind(0), target.teachers, strict=True):
            terms = terms + distillation_terms(input, teacher, temperature=temperature, weight=teacher_weight, kl=kl)
        loss = loss + reduce_loss(terms * counted, counted, reduction)
    dtype = result_dtype(input)
    return loss if loss.dtype == dtype else loss.to(dtype)


def _plain_class_loss(
    func: Callable[..., Any],
    input: Tensor,
    target: SoftTarget,
    weight: Tensor | None,
    ignore_index: int,
    reduction: Reduction,
    label_smoothing: float,
    spread: Spread,
) -> Tensor:
    """Returns the loss of labels that are not mixed, by torch's kernel."""
    dtype = compute_dtype(input)
    kwargs: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    if label_smoothing:
        kwargs["label_smoothing"] = uniform_share(label_smoothing, spread, input.shape[class_dim(input)])
    if weight is not None:
        kwargs["weight"] = weight.to(dtype)
    return cast(Tensor, func(input.to(dtype), target._labels[0].long(), **kwargs))


def counted_weights(target: SoftTarget, ignore_index: int) -> Tensor:
    """Returns the weights of the labels that are not ignored, summed per position: a teacher's share of the loss."""
    return target._weights.masked_fill(target._labels.long() == ignore_index, 0).sum(0)


def _elementwise_loss(
    func: Callable[..., Any],
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    **kwargs: Any,
) -> Any:
    """Binary cross-entropy and the regression losses on labels that were cast to floating point."""
    others = (input, weight, kwargs.get("pos_weight"))
    if any(isinstance(other, SoftTarget) for other in others) or not isinstance(target, SoftTarget):
        return NotImplemented
    if size_average is not None or reduce is not None:
        raise refusal(target, func.__name__, "takes no deprecated `size_average=` and `reduce=`", "Use `reduction=`.")
    if not target.is_floating_point():
        ways_out = "" if target.label_smoothing or target.teachers else "Use y.float()."
        raise refusal(target, func.__name__, f"needs floating labels, but got {target.dtype}", ways_out)
    if func is F.l1_loss and _l1_loss_was_weighted():
        ways_out = 'Use F.l1_loss(input, y.float(), reduction="none") * weight.'
        raise refusal(target, func.__name__, "gets no `weight=` from torch", ways_out)
    # as in torch, the result has the wider dtype: predicted classes compared with `y.float()` give floats
    input = input.to(torch.promote_types(input.dtype, target.dtype))
    dtype = compute_dtype(input)
    scores = input.to(dtype)
    if weight is not None:
        kwargs["weight"] = weight
    losses = [
        func(scores, labels.to(dtype), reduction="none", **kwargs) * weights for labels, weights in target.components
    ]
    loss = torch.stack(losses).sum(0)
    counted = torch.ones_like(loss)
    if weight is not None and func in (F.mse_loss, F.l1_loss):  # these two alone divide by the sum of the weights
        counted = weight.to(dtype)
    return reduce_loss(loss, counted, reduction).to(result_dtype(input))


def _l1_loss_was_weighted() -> bool:
    """Whether the call came from ``F.l1_loss`` with ``weight=``; Dynamo leaves the question to eager code."""
    frame = None if torch.compiler.is_dynamo_compiling() else sys._getframe(1)
    while frame is not None:
        if frame.f_code is F.l1_loss.__code__:
            return frame.f_locals["weight"] is not None
        frame = frame.f_back
    return False


HANDLERS.update(dict.fromkeys((F.cross_entropy, F.nll_loss), _class_loss))
_BINARY = (F.binary_cross_entropy, F.binary_cross_entropy_with_logits)
HANDLERS.update(dict.fromkeys((*_BINARY, F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss), _elementwise_loss))
