"""Whether torchmetrics asks."""

import sys
from types import FrameType


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
