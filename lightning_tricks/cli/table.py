"""The table at the end of a study."""

import math
from collections.abc import Sequence

from rich.table import Table

from lightning_tricks.study import Comparison

_DEMONSTRATION_BELOW = 10


def comparison_table(rows: Sequence[Comparison], *, baseline: str) -> Table:
    """One line an arm; accuracies in percent, differences in percentage points.

    Args:
        rows: what :func:`~lightning_tricks.study.compare` gives.
        baseline: the arm whose own difference is left blank.

    Returns:
        A rich table.
    """
    table = Table("arm", "accuracy %", "difference", "95% interval", "seconds a run")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        paired = ("", "") if row.arm == baseline else (f"{100 * row.difference:+.2f}", _interval(row))
        table.add_row(row.arm, f"{100 * row.value:.2f}", *paired, f"{row.seconds:.1f}")
    return table


def caption(*, num_seeds: int, train_size: int, validation_size: int) -> str:
    """What the table's numbers are, and how far they carry.

    Args:
        num_seeds: runs of each arm.
        train_size: training images of each run.
        validation_size: validation images of each run.

    Returns:
        A few plain sentences.
    """
    seeds = "1 seed" if num_seeds == 1 else f"{num_seeds} seeds"
    text = (
        f"Accuracy after the last epoch on {validation_size} validation images, {train_size} training images, mean of "
        f"{seeds}. Differences are from the baseline, in points, paired by seed; intervals are those of the corrected "
        'resampled t, each for itself. The test part was not read. The arm "all" has one image trick for each batch, '
        "gradual warm-up and cosine decay."
    )
    if num_seeds < _DEMONSTRATION_BELOW:
        text += f" With {seeds} this is a demonstration, not evidence: take {_DEMONSTRATION_BELOW} or more to decide."
    return text


def _interval(row: Comparison) -> str:
    if math.isnan(row.low):
        return "needs 2 seeds"
    return f"{100 * row.low:+.2f} to {100 * row.high:+.2f}"
