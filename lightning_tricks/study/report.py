"""One HTML page with everything that a study found and how it was done."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from lightning_tricks.study.comparison import Comparison
from lightning_tricks.study.figure import png
from lightning_tricks.study.unit import Unit, unit_of

if TYPE_CHECKING:
    from lightning_tricks.study.result import StudyResult

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
    "<b>Not shown with n seeds</b>: these runs decide nothing; it does not say that there is no difference. "
    "<b>Diverged</b>: every run of the arm ended with a metric or a weight that is not finite; <b>diverged in k of n "
    "runs</b>: k did, and a metric that is not finite leaves no difference. A name before it is that of a reference "
    "that diverged.",
    "The interval of a row holds for that row alone. The adjusted p-value is the smallest level at which the row would "
    "still have a verdict after Holm's correction for the number of arms.",
    "The metric is that of the weights after the last epoch, never that of the best epoch. A trick can need another "
    "learning rate or a longer training than its baseline: the verdict is about the settings below.",
)


def html_report(result: "StudyResult") -> str:
    """The page; its figure is inside, and it loads nothing.

    Args:
        result: of a study or of its confirmation.

    Returns:
        A whole HTML document.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; it comes with ``pip install lightning-tricks[cli]``.
    """
    title = "Which tricks help?" if result.part == "validation" else "One trick on the test part"
    picture = base64.b64encode(png(result)).decode()
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="warning">{escape(result.warning)}</p>' if result.warning else "",
        *(f"<p>{escape(note)}</p>" for note in result.notes()),
        f'<p><img alt="Differences with intervals" src="data:image/png;base64,{picture}"></p>',
        "<h2>Arms</h2>",
        _arms(result),
        "<h2>How to read it</h2>",
        *(f"<p>{sentence}</p>" for sentence in _HOW_TO_READ),
        "<h2>Settings</h2>",
        _settings(result),
        "<h2>Runs</h2>",
        _runs(result),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(part for part in parts if part) + "\n</body></html>\n"
    )


def _arms(result: "StudyResult") -> str:
    unit = unit_of(result.percent)
    columns = ["arm", "verdict", f"difference{unit.of_difference}", "interval", "adjusted p", f"mean{unit.of_value}"]
    columns += ["seeds", "diverged", "s a run", "peak MB"]
    rows = [_row(row, unit) for row in result.rows]
    # Where all are compared with the baseline, a column that says so takes room for nothing.
    if len(set(result.references.values())) > 1:
        columns.insert(2, "against")
        for cells, row in zip(rows, result.rows, strict=True):
            cells.insert(2, "" if row.arm == row.reference else row.reference)
    return _table(columns, rows)


def _row(row: Comparison, unit: Unit) -> list[str]:
    decimals = f".{unit.digits}f"
    paired = ["", "", "", ""]
    if row.arm != row.reference:
        p_value = "< 0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}"
        paired = [row.verdict, _number(unit.scale * row.difference, "+" + decimals), _interval(row, unit), p_value]
    costs = [_number(row.seconds, ".2f"), _number(row.peak_memory / 1e6, ".0f")]
    value = _number(unit.scale * row.value, decimals)
    return [row.arm, *paired, value, str(row.num_seeds), str(row.diverged), *costs]


def _interval(row: Comparison, unit: Unit) -> str:
    if row.num_seeds < 2:
        return "needs 2 seeds"
    if math.isnan(row.low):
        return ""
    return " to ".join(_number(unit.scale * end, f"+.{unit.digits}f") for end in (row.low, row.high))


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else f"{value:{form}}".replace("-", "−")


def _settings(result: "StudyResult") -> str:
    margin = None if result.margin is None else unit_of(result.percent).margin(result.margin)
    chosen = {"confidence": result.confidence, "margin": margin, "part": result.part}
    seeds = sorted({record["seed"] for record in result.records})
    if seeds:
        chosen["seeds"] = f"{seeds[0]} to {seeds[-1]}"
    versions = {name: _version(name) for name in ("lightning-tricks", "lightning", "torch")}
    settings = {**chosen, **dict(_flat(result.settings)), **versions, **chosen}
    words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    cells = ((escape(name), escape(text)) for name, text in words.items())
    body = "".join(f'<tr><td class="long">{name}</td><td class="value">{text}</td></tr>' for name, text in cells)
    return f'<div class="wide"><table>{body}</table></div>'


def _runs(result: "StudyResult") -> str:
    if not result.records:
        return "<p>None is finished.</p>"
    unit = unit_of(result.percent)
    columns = {column: column for column in result.records[0] if column != "metric"}
    columns["value"] += unit.of_value
    shown = ({**record, "value": unit.scale * record["value"]} for record in result.records)
    return _table(list(columns.values()), ([_cell(column, record[column]) for column in columns] for record in shown))


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
