"""That some arms of a study train with another learning rate than its baseline."""

from collections.abc import Iterable

from lightning_tricks.callbacks.linear_scaling import LinearScaling
from lightning_tricks.functional.lr import linear_scaling
from lightning_tricks.study import Arm


def rate_caution(tricks: Iterable[Arm], *, lr: float, batch_size: int) -> str:
    """A sentence for the reader of the table.

    Args:
        tricks: of all arms.
        lr: the learning rate of all arms.
        batch_size: of the training.

    Returns:
        By how much LinearScaling changes the rate, and what to do; empty if no trick does.
    """
    made = [callback for trick in tricks if not trick.prepare for callback in trick.make_callbacks()]
    scaling = next((callback for callback in made if isinstance(callback, LinearScaling)), None)
    if scaling is None:
        return ""
    base = scaling.base_batch_size
    factor = linear_scaling(0, batch_size=batch_size, base_batch_size=base, rule=scaling.rule)
    if factor == 1:
        return ""
    return (
        f"Caution: with LinearScaling an arm trains at {factor:g} times the baseline's learning rate, {lr * factor:g} "
        f"in place of {lr:g} (batches of {batch_size} on one device, relative to {base}), and differs by that too. The "
        "baseline's rate should be chosen for itself: in Python, lightning_tricks.Ablation(lr_grid=[...]) chooses one "
        "for each arm."
    )
