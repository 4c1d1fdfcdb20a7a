"""Which code of torchmetrics sees the dominant labels of a SoftTarget."""

import sys
from types import FrameType

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


def sees_hard_labels() -> bool:
    """Whether a known metric of torchmetrics asks, in which no gradient can reach the predictions.

    A metric that a user has written is not known, for it may be a loss; the torchmetrics functions it calls are.
    """
    if torch.compiler.is_compiling():
        return False
    asking, frames = _walk()
    if not _is_part_of(asking, ("torchmetrics",)):
        return False
    metrics = [name for name, _ in frames if not _is_part_of(name, (*_TRANSPARENT, *_SHELLS))]
    if not all(_is_part_of(name, _KNOWN) for name in metrics):
        return False
    if metrics and all(_is_part_of(name, _COUNTS) and not name.endswith(".hinge") for name in metrics):
        return True
    if all(name != "torchmetrics.metric" for name, _ in frames):
        return False  # a function, which is a loss by itself
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0:
        return False  # a derivative that `requires_grad` does not show
    return not any(_needs_gradient(frame) for _, frame in frames)


def is_below_torchmetrics() -> bool:
    """Whether any code of torchmetrics is on the stack."""
    return not torch.compiler.is_compiling() and bool(_walk()[1])


def _walk() -> tuple[str, list[tuple[str, FrameType]]]:
    """Returns the module that asks, the innermost that passes nothing on, and the frames of torchmetrics."""
    frames = []
    asking = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        asking = asking or ("" if _is_part_of(name, _TRANSPARENT) else name)
        if _is_part_of(name, ("torchmetrics",)):
            frames.append((name, frame))
        frame = frame.f_back
    return asking, frames


def _needs_gradient(frame: FrameType) -> bool:
    """Whether a tensor in this frame needs a gradient."""
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(list(frame.f_locals.values())))


def _is_part_of(module: str, packages: tuple[str, ...]) -> bool:
    """Whether the module is one of the packages or lies in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


_TRANSPARENT = ("torch", "lightning_utilities", "lightning_tricks.soft_target", "torchmetrics.utilities")
_SHELLS = ("torchmetrics.metric", "torchmetrics.wrappers")
_COUNTS = (  # labels only pick what is counted, or are compared
    "torchmetrics.classification",
    "torchmetrics.functional.classification",
    "torchmetrics.collections",
)
_KNOWN = (
    *_COUNTS,
    *(
        f"torchmetrics.{prefix}{name}"
        for prefix in ("", "functional.")
        for name in ("clustering", "nominal", "regression", "retrieval", "segmentation", "text.perplexity")
    ),
)
