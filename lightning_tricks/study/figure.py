"""The differences of a study as a picture."""

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

from lightning_tricks.study.comparison import Comparison
from lightning_tricks.study.unit import unit_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_tricks.study.result import StudyResult

# Okabe and Ito's colours, told apart with every kind of colour vision; the markers tell them apart without colour.
_LOOKS = {"helps": ("#0072B2", "^"), "hurts": ("#D55E00", "v"), "no difference": ("#009E73", "s")}
_UNDECIDED = ("#666666", "o")
# Names are words of the user, whatever dollar signs they hold.
_PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}


def plot_differences(result: "StudyResult") -> "Figure":
    """Draws each arm's difference from its reference, with its interval and its verdict.

    Args:
        result: of a study or of its confirmation.

    Returns:
        A new figure that belongs to no window; ``savefig`` writes it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; it comes with ``pip install lightning-tricks[cli]``.
    """
    from matplotlib.figure import Figure

    rows = [row for row in result.rows if row.arm != row.reference]
    unit = unit_of(result.percent)
    figure = Figure(figsize=(9, 1.9 + 0.45 * max(1, len(rows))), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=1)
    if result.margin is not None:
        axes.axvspan(-unit.scale * result.margin, unit.scale * result.margin, color="#009E73", alpha=0.12, linewidth=0)
    for height, row in enumerate(rows):
        if math.isnan(row.difference):
            continue
        color, marker = next((look for words, look in _LOOKS.items() if row.verdict.startswith(words)), _UNDECIDED)
        difference, low, high = (unit.scale * number for number in (row.difference, row.low, row.high))
        if not math.isnan(low):
            axes.plot([low, high], [height, height], color=color, linewidth=2, solid_capstyle="butt")
        axes.plot([difference], [height], color=color, marker=marker, markersize=8)
    axes.set_yticks(range(len(rows)), [_label(row, result) for row in rows], **_PLAIN)
    axes.set_ylim(max(0.5, len(rows) - 0.5), -0.5)
    verdicts = axes.secondary_yaxis("right")
    verdicts.set_yticks(range(len(rows)), [_words(row) for row in rows], **_PLAIN)
    for side in (axes, verdicts):
        side.tick_params(axis="y", length=0)
    for name in ("top", "left", "right"):
        axes.spines[name].set_visible(False)
    verdicts.spines["right"].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.08)
    better = "right" if result.mode == "max" else "left"
    metric, percent = result.settings["metric"], f"{100 * result.confidence:g}%"
    label = (
        f"difference in {metric} on the {result.part} part,{unit.of_difference and ' in points,'} {percent} interval"
    )
    shaded = "" if result.margin is None else f"\nshaded: the stated margin, ±{unit.margin(result.margin)}"
    axes.set_xlabel(f"{label} ({better} is better){shaded}", **_PLAIN)
    if result.is_demonstration:
        count = f"{result.num_seeds} seed" + ("" if result.num_seeds == 1 else "s")
        axes.set_title(f"Demonstration: {count} cannot decide", fontsize="medium")
    return figure


def png(result: "StudyResult") -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    plot_differences(result).savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _label(row: Comparison, result: "StudyResult") -> str:
    several = len(set(result.references.values())) > 1
    return textwrap.fill(f"{_short(row.arm)} against {_short(row.reference)}" if several else _short(row.arm), 30)


def _short(name: str) -> str:
    """A name that leaves room for the picture; its end is kept, since long names often differ there."""
    return name if len(name) <= 60 else f"{name[:38]} … {name[-19:]}"


def _words(row: Comparison) -> str:
    says_it = not row.diverged or "diverged" in row.verdict
    return row.verdict if says_it else f"{row.verdict}\n({row.diverged} diverged)"
