"""The table at the end of a study."""

import math
from dataclasses import replace

from rich import box
from rich.table import Table
from rich.text import Text

from lightning_tricks.study import Comparison, StudyResult


def comparison_table(result: StudyResult) -> Table:
    """One line an arm; accuracies in percent, differences in percentage points.

    Args:
        result: of a study whose metric is an accuracy, or of its confirmation.

    Returns:
        A rich table.
    """
    interval = f"{100 * result.confidence:g}% interval"
    columns = "arm", "acc. %", "diff.", interval, "verdict", "s/run", "MB"
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in (0, 1, 2, 3, 5, 6):
        table.columns[column].justify = "right" if column else "left"
        table.columns[column].no_wrap = True
    for row in replace(result, percent=True).rows:
        paired = ("", "", "") if not row.verdict else (_points(row.difference), _interval(row), Text(row.verdict))
        memory = "" if math.isnan(row.peak_memory) else f"{row.peak_memory / 1e6:.0f}"
        table.add_row(Text(row.arm), f"{100 * row.value:.2f}", *paired, f"{row.seconds:.1f}", memory)
    return table


def _points(difference: float) -> str:
    return "diverged" if math.isnan(difference) else f"{100 * difference:+.2f}"


def _interval(row: Comparison) -> str:
    if row.num_seeds < 2:
        return "needs 2 seeds"
    return "" if math.isnan(row.low) else f"{100 * row.low:+.2f} to {100 * row.high:+.2f}"
