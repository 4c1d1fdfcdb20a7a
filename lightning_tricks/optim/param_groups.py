"""Parameter groups that restrict weight decay to weights."""

from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from lightning_tricks.functional.checks import check_number

_NORMS = (nn.LayerNorm, nn.RMSNorm)  # norms whose parameters may have more than one dimension


def weight_decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Returns two parameter groups for an optimizer; only the first is decayed.

    Without decay are biases (names that end in ``bias``), the parameters of torch's normalisation layers, and every
    parameter of at most one dimension, such as the scales of custom layers.

    Args:
        module: each of its parameters, also a frozen one, goes into exactly one group, in the module's order.
        weight_decay: weight decay of the first group, at least 0.

    Returns:
        ``[{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}]``; a group may be
        empty. The parameters are the module's own.

    Raises:
        TypeError: if ``module`` is not a module or ``weight_decay`` not a number.
        ValueError: if ``weight_decay`` is below 0, or a lazy parameter has no shape yet.

    Example:
        >>> from torch import nn
        >>> from lightning_tricks import weight_decay_groups
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> [len(group["params"]) for group in weight_decay_groups(net, 1e-4)]
        [1, 3]

    References:
        He et al., Bag of Tricks for Image Classification, arXiv 1812.01187 ("no bias decay").
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"weight_decay_groups needs module to be an nn.Module, but got {type(module).__name__}.")
    check_number("weight_decay_groups", "weight_decay", weight_decay, low=0)
    of_norms = {
        id(p) for layer in module.modules() if isinstance(layer, _NORMS) for p in layer.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, p in module.named_parameters():
        if is_lazy(p):
            raise ValueError(
                f"weight_decay_groups needs parameters with a shape, but got a lazy {name}; run a batch first."
            )
        plain = p.ndim <= 1 or name.endswith("bias") or id(p) in of_norms
        (others if plain else decayed).append(p)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
