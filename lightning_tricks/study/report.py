"""The result of a study as cells, a picture and one HTML page."""

import base64
import io
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_tricks.study.comparison import Comparison
from lightning_tricks.study.result import Findings
from lightning_tricks.study.runs.store import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th.words, td.words { text-align: left; }
th.long, td.long { white-space: normal; overflow-wrap: break-word; text-align: left; }
td.value { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.wide { overflow-x: auto; } img { max-width: 100%; }
.warning { border-left: .4rem solid #d55e00; background: #fdf1e8; padding: .5rem 1rem; }
"""
_HOW_TO_READ = (
    "<b>helps</b>, <b>hurts</b>: the arm differs from its reference by more than chance explains. "
    "<b>No difference beyond ±margin</b>: the difference is smaller than the margin that was stated beforehand. "
    "<b>Inconclusive with n seeds</b>: these runs decide nothing; it does not say that there is no difference. "
    "<b>Diverged</b>: every run of the arm ended with a metric or a weight that is not finite; <b>diverged in k of n "
    "runs</b>: k did, and a metric that is not finite leaves no difference. A name before it is that of a reference "
    "that diverged.",
    "The interval of a row holds for that row alone. The adjusted p-value is the smallest level at which the row would "
    "still have a verdict after Holm's correction for the number of arms.",
    "The metric is that of the weights after the last epoch, never that of the best epoch. A trick can need another "
    "learning rate or a longer training than its baseline: the verdict is about the settings below.",
)
# Okabe and Ito's colours, told apart with every kind of colour vision; the markers tell them apart without colour.
_LOOKS = {"helps": ("#0072B2", "^"), "hurts": ("#D55E00", "v"), "no difference": ("#009E73", "s")}
_UNDECIDED = ("#666666", "o")
# Names are words of the user, whatever dollar signs they hold.
_PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}


class StudyResult(Findings):
    """The finished runs of a study, or of its confirmation, and what follows from them.

    Attributes:
        records: one mapping of plain values per run; see :meth:`Ablation.records`.
        missing: the (arm, seed) pairs that are not finished yet.
        settings: plain values that say what the study is.
        references: arm to the arm that it is compared with.
        part: ``"validation"`` or ``"test"``, what the metric was computed on.
        mode: ``"max"`` if a larger metric is better, ``"min"`` otherwise.
        confidence: of the intervals and, less 1, the share of studies with a false verdict.
        margin: the largest difference that does not matter, in the metric's unit; ``None`` if none was stated.
        percent: whether picture, page and cells give the metric in percent and its differences in points, as suits an
            accuracy in [0, 1]. The rows and the CSV files are in the metric's unit all the same.
    """

    def cells(self) -> list[dict[str, str]]:
        """One mapping per arm, from ``"arm"``, ``"verdict"``, ``"difference"`` and so on to what a table shows."""
        digits, scale = (2, 100) if self.percent else (4, 1)

        def number(value: float, form: str = f".{digits}f") -> str:
            return "" if math.isnan(value) else f"{value:{form}}"

        cells = []
        for row in self.rows:
            paired = dict.fromkeys(("against", "verdict", "difference", "interval", "adjusted p"), "")
            if row.arm != row.reference:
                ends = [number(scale * end, f"+.{digits}f") for end in (row.low, row.high)]
                paired = {
                    "against": row.reference,
                    "verdict": self._verdict(row),
                    "difference": number(scale * row.difference, f"+.{digits}f"),
                    "interval": "needs 2 seeds" if row.num_seeds < 2 else " to ".join(filter(None, ends)),
                    "adjusted p": "< 0.001" if row.p_value < 0.001 else number(row.p_value, ".3f"),
                }
            counts = {"seeds": str(row.num_seeds), "diverged": str(row.diverged)}
            costs = {"s per run": number(row.seconds, ".1f"), "peak MB": number(row.peak_memory / 1e6, ".0f")}
            cells.append({"arm": row.arm, **paired, "mean": number(scale * row.value), **counts, **costs})
        return cells

    def figure(self) -> "Figure":
        """The differences with their intervals, as a new matplotlib figure that belongs to no window.

        Raises:
            ModuleNotFoundError: matplotlib is not installed; it comes with ``pip install lightning-tricks[cli]``.
        """
        from matplotlib.figure import Figure

        rows, scale = [row for row in self.rows if row.arm != row.reference], 100 if self.percent else 1
        figure = Figure(figsize=(9, 1.9 + 0.45 * max(1, len(rows))), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="black", linewidth=1)
        if self.margin is not None:
            axes.axvspan(-scale * self.margin, scale * self.margin, color="#009E73", alpha=0.12, linewidth=0)
        for height, row in enumerate(rows):
            if math.isnan(row.difference):
                continue
            color, marker = _LOOKS.get(row.kind, _UNDECIDED)
            difference, low, high = (scale * number for number in (row.difference, row.low, row.high))
            if not math.isnan(low):
                axes.plot([low, high], [height, height], color=color, linewidth=2, solid_capstyle="butt")
            axes.plot([difference], [height], color=color, marker=marker, markersize=8)
        axes.set_yticks(range(len(rows)), [self._label(row) for row in rows], **_PLAIN)
        axes.set_ylim(max(0.5, len(rows) - 0.5), -0.5)
        verdicts = axes.secondary_yaxis("right")
        words = [
            self._verdict(row) + (f"\n({row.diverged} diverged)" if row.diverged and row.kind != "diverged" else "")
            for row in rows
        ]
        verdicts.set_yticks(range(len(rows)), words, **_PLAIN)
        for side in (axes, verdicts):
            side.tick_params(axis="y", length=0)
        for name in ("top", "left", "right"):
            axes.spines[name].set_visible(False)
        verdicts.spines["right"].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
        axes.margins(x=0.08)
        axes.set_xlabel(self._axis_label(), **_PLAIN)
        if self.is_demonstration:
            count = f"{self.num_seeds} seed" + ("" if self.num_seeds == 1 else "s")
            axes.set_title(f"Demonstration: {count} cannot decide", fontsize="medium")
        return figure

    def html(self) -> str:
        """One page with everything, which needs no other file."""
        title = "Which tricks help?" if self.part == "validation" else "One trick on the test part"
        picture = base64.b64encode(self._png()).decode()
        parts = [
            f"<h1>{title}</h1>",
            f'<p class="warning">{escape(self.warning)}</p>' if self.warning else "",
            *(f"<p>{escape(note)}</p>" for note in self.notes()),
            f'<p><img alt="Differences with intervals" src="data:image/png;base64,{picture}"></p>',
            "<h2>Arms</h2>",
            self._arms_html(),
            "<h2>How to read it</h2>",
            *(f"<p>{sentence}</p>" for sentence in _HOW_TO_READ),
            "<h2>Settings</h2>",
            self._settings_html(),
            "<h2>Runs</h2>",
            self._runs_html(),
        ]
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body>\n" + "\n".join(part for part in parts if part) + "\n</body></html>\n"
        )

    def write(self, directory: Path | str) -> list[Path]:
        """Writes ``table.csv``, ``runs.csv``, ``report.html`` and ``differences.png``.

        Args:
            directory: is made if need be.

        Returns:
            The paths of the files.

        Raises:
            OSError: if they cannot be written.
        """
        # The tables first, so that they are there even where the picture fails.
        files: dict[str, Callable[[], str | bytes]] = {
            "table.csv": self.table_csv,
            "runs.csv": self.runs_csv,
            "report.html": self.html,
            "differences.png": self._png,
        }
        paths = [Path(directory) / name for name in files]
        for path, make in zip(paths, files.values(), strict=True):
            write_atomically(path, make())
        return paths

    def _png(self) -> bytes:
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()

    def _margin(self) -> str:
        """The margin in the unit that is shown."""
        number = f"{(100 if self.percent else 1) * (self.margin or 0):g}"
        return number + self.percent * (" point" if number == "1" else " points")

    def _verdict(self, row: Comparison) -> str:
        return f"no difference beyond ±{self._margin()}" if row.kind == "no difference" else row.verdict

    def _has_several_references(self) -> bool:
        return len(set(self.references.values())) > 1

    def _label(self, row: Comparison) -> str:
        name = _short(row.arm)
        return textwrap.fill(f"{name} against {_short(row.reference)}" if self._has_several_references() else name, 30)

    def _axis_label(self) -> str:
        better = "right" if self.mode == "max" else "left"
        shaded = "" if self.margin is None else f"\nshaded: the stated margin, ±{self._margin()}"
        return (
            f"difference in {self.settings['metric']} on the {self.part} part,{self.percent * ' in points,'} "
            f"{100 * self.confidence:g}% interval ({better} is better){shaded}"
        )

    def _arms_html(self) -> str:
        cells = self.cells()
        # Where all are compared with the baseline, a column that says so takes room for nothing.
        names = ["arm", "verdict", *(["against"] if self._has_several_references() else [])]
        names += ["difference", "interval", "adjusted p", "mean", "seeds", "diverged", "s per run", "peak MB"]
        units = {"difference": " points", "mean": " %"} if self.percent else {}
        words = {"arm", "verdict", "against"}
        rows = ([row[name] if name in words else row[name].replace("-", "−") for name in names] for row in cells)
        return _table([name + units.get(name, "") for name in names], rows)

    def _settings_html(self) -> str:
        margin = None if self.margin is None else self._margin()
        chosen = {"confidence": self.confidence, "margin": margin, "part": self.part}
        if seeds := sorted({record["seed"] for record in self.records}):
            chosen["seeds"] = f"{seeds[0]} to {seeds[-1]}"
        versions = {name: _version(name) for name in ("lightning-tricks", "lightning", "torch")}
        settings = {**chosen, **dict(_flat(self.settings)), **versions, **chosen}
        words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
        cells = ((escape(name), escape(text)) for name, text in words.items())
        body = "".join(f'<tr><td class="long">{name}</td><td class="value">{text}</td></tr>' for name, text in cells)
        return f'<div class="wide"><table>{body}</table></div>'

    def _runs_html(self) -> str:
        if not self.records:
            return "<p>None is finished.</p>"
        left_out = {"metric", "train_part", "eval_part", "equal_samples"}
        columns = {column: column for column in self.records[0] if column not in left_out}
        columns["value"] += self.percent * " %"
        scale = 100 if self.percent else 1
        shown = ({**record, "value": scale * record["value"]} for record in self.records)
        return _table(
            list(columns.values()), ([_cell(column, record[column]) for column in columns] for record in shown)
        )


def _short(name: str) -> str:
    """A name that leaves room for the picture; its end is kept, since long names often differ there."""
    return name if len(name) <= 60 else f"{name[:38]} … {name[-19:]}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    classes = {"arm": "long", "against": "long", "verdict": "words"}

    def line(tag: str, cells: Sequence[str]) -> str:
        inside = (
            f'<{tag} class="{classes.get(column, "number")}">{escape(cell)}</{tag}>'
            for column, cell in zip(columns, cells, strict=True)
        )
        return f"<tr>{''.join(inside)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>{line("th", columns)}\n{body}</table></div>'


def _cell(column: str, value: Any) -> str:
    if column == "peak_memory" and value is not None:
        return f"{value / 1e6:.0f} MB"
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        return [(prefix, value)]
    return [pair for name, item in value.items() for pair in _flat(item, f"{prefix} › {name}" if prefix else str(name))]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
