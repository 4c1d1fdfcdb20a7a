"""Whether torchmetrics asks."""

import sys
from types import FrameType


def inside_torchmetrics() -> bool:
    """Whether a metric of torchmetrics is on the stack: it sees hard labels.

    Its differentiable functions are losses where no metric class stands above them, and are refused as losses are.
    """
    modules = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("torchmetrics."):
            modules.add(module)
        frame = frame.f_back
    differentiable = any(module.startswith(_DIFFERENTIABLE) for module in modules)
    return bool(modules) and ("torchmetrics.metric" in modules or not differentiable)


_DIFFERENTIABLE = tuple(
    f"torchmetrics.functional.{name}"
    for name in (
        "audio",
        "classification.hinge",
        "clustering.calinski_harabasz_score",
        "clustering.davies_bouldin_score",
        "clustering.dunn_index",
        "image",
        "pairwise",
        "regression",
        "segmentation.dice",
        "segmentation.generalized_dice",
        "text.perplexity",
    )
)
