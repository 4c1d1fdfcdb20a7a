"""The optimizers inside a wrapper such as Lookahead, SAM or OrthoGrad."""

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer


def optimizers_inside(optimizer: Optimizer) -> list[Optimizer]:
    """Returns the optimizers that a wrapper holds, at any depth; none for an optimizer that wraps nothing."""
    if any(base.__name__ == "ZeroRedundancyOptimizer" for base in type(optimizer).__mro__):
        return []  # before each step it copies the values of its groups into those of the one inside
    found = [optimizer]
    for holder in found:  # grows while it is read
        for value in vars(holder).values():
            values = value.values() if isinstance(value, dict) else value
            for held in values if isinstance(value, dict | list | tuple) else [value]:
                if isinstance(held, Optimizer) and not any(held is known for known in found):
                    found.append(held)
    return found[1:]


def check_groups(optimizer: Optimizer, inside: list[Optimizer]) -> None:
    """Refuses groups without a learning rate, and those through which no learning rate reaches the arithmetic.

    Raises:
        MisconfigurationException: a group has no ``lr``, ``param_groups`` makes new groups whenever it is read, or the
            optimizer inside a wrapper has groups of its own.
    """
    name = type(optimizer).__name__
    groups = optimizer.param_groups
    for index, group in enumerate(groups):
        if group.get("lr") is None:
            raise MisconfigurationException(
                "The learning-rate tricks need an optimizer with a learning rate, "
                f"but parameter group {index} of {name} has none"
            )
    if any(group is not again for group, again in zip(groups, optimizer.param_groups, strict=False)):
        raise MisconfigurationException(
            f"The learning-rate tricks need parameter groups that can be written to, but {name} makes new ones "
            "whenever param_groups is read; let it return the groups themselves"
        )
    shared = {id(group) for group in groups}
    for held in inside:
        if any(id(group) not in shared for group in held.param_groups):
            raise MisconfigurationException(
                f"The learning-rate tricks need a wrapper that shares the parameter groups of the optimizer inside, "
                f"but {type(held).__name__} inside {name} has groups of its own, which no scheduler of {name} reaches "
                f"either; let the param_groups of {name} be those of {type(held).__name__}, or return "
                f"{type(held).__name__} from configure_optimizers"
            )
