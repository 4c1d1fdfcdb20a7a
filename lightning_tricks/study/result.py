"""What a study found: rows, tables, a picture and a report."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_tricks.study.arm import BASELINE
from lightning_tricks.study.comparison import Comparison, compare
from lightning_tricks.study.run_store import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEMONSTRATION_BELOW = 10
"""Fewer seeds than this are a demonstration."""


@dataclass(frozen=True)
class StudyResult:
    """The finished runs of a study, or of its confirmation, and what follows from them.

    Attributes:
        records: one mapping of plain values a run; see :meth:`Ablation.records`.
        missing: the (arm, seed) pairs that are not finished yet.
        settings: plain values that say what the study is.
        references: arm to the arm that it is compared with.
        part: ``"validation"`` or ``"test"``, what the metric was computed on.
        mode: ``"max"`` if a larger metric is better, ``"min"`` otherwise.
        confidence: of the intervals and, less 1, the share of studies with a false verdict.
        margin: the largest difference that does not matter, in the metric's unit; ``None`` if none was stated.
        percent: whether verdicts, picture and page give the metric in percent and its differences in points, as suits
            an accuracy in [0, 1]. The numbers of the rows and of the CSV files are in the metric's unit all the same.
    """

    records: Sequence[Mapping[str, Any]]
    missing: Sequence[tuple[str, int]]
    settings: Mapping[str, Any]
    references: Mapping[str, str]
    part: str
    mode: str
    confidence: float
    margin: float | None
    percent: bool = False

    @property
    def rows(self) -> list[Comparison]:
        """One row per arm."""
        return compare(
            self.records,
            references=self.references,
            planned=[*((record["arm"], record["seed"]) for record in self.records), *self.missing],
            mode=self.mode,
            confidence=self.confidence,
            margin=self.margin,
            percent=self.percent,
        )

    @property
    def num_seeds(self) -> int:
        """How many seeds were asked for."""
        return int(self.settings["num_seeds"])

    @property
    def is_demonstration(self) -> bool:
        """Whether there are too few seeds to decide by."""
        return self.num_seeds < DEMONSTRATION_BELOW

    @property
    def warning(self) -> str:
        """That the study is a demonstration, if it is one; otherwise empty."""
        if not self.is_demonstration:
            return ""
        seeds = "1 seed" if self.num_seeds == 1 else f"{self.num_seeds} seeds"
        return f"With {seeds} this is a demonstration, not evidence: take {DEMONSTRATION_BELOW} or more to decide."

    def notes(self) -> list[str]:
        """What the rows are and how far they carry, in plain sentences."""
        seeds = "1 seed" if self.num_seeds == 1 else f"{self.num_seeds} seeds"
        train_size = _range(record["train_size"] for record in self.records)
        eval_size = _range(record["eval_size"] for record in self.records)
        percent, false = f"{100 * self.confidence:g}%", f"{100 * (1 - self.confidence):.3g}%"
        against = "Differences are" + (" from the baseline," if set(self.references.values()) == {BASELINE} else "")
        notes = [
            f"{self.settings['metric']} after the last epoch on the {self.part} part ({eval_size} samples; trained on "
            f"{train_size}), mean of {seeds}; {'larger' if self.mode == 'max' else 'smaller'} is better.",
            f"{against} paired by seed: a seed fixes the split, the first weights and the order of the data for "
            f"all arms. Intervals ({percent}) are those of the corrected resampled t, each for itself; verdicts are "
            f"adjusted over the arms, so that at most {false} of such studies make any false claim.",
        ]
        if self.part == "validation":
            notes.append("The test part was not read.")
        if diverged := [f"{row.arm} ({row.diverged} of {row.num_seeds})" for row in self.rows if row.diverged]:
            notes.append(
                f'Diverged runs: {", ".join(diverged)}. An arm has the verdict "diverged" if all of its runs did, or '
                "if the metric of one is not finite, which leaves no difference; other diverged runs count with the "
                "metric that they ended with."
            )
        if self.missing:
            notes.append(
                f"Runs not finished yet: {len(self.missing)}; rows rest on the seeds that are, and there is no verdict "
                "before all are."
            )
        return notes

    def table_csv(self) -> str:
        """The rows as CSV, everything in the metric's unit; a name that begins like a formula gets an apostrophe."""
        rows = replace(self, percent=False).rows
        return _csv([field.name for field in fields(Comparison)], [asdict(row) for row in rows])

    def runs_csv(self) -> str:
        """The runs as CSV; a name that begins like a formula gets an apostrophe."""
        return _csv(list(self.records[0]) if self.records else [], self.records)

    def figure(self) -> "Figure":
        """The differences with their intervals, as a new matplotlib figure that belongs to no window."""
        from lightning_tricks.study.figure import plot_differences

        return plot_differences(self)

    def html(self) -> str:
        """One page with everything, which needs no other file."""
        from lightning_tricks.study.report import html_report

        return html_report(self)

    def write(self, directory: Path | str) -> list[Path]:
        """Writes ``table.csv``, ``runs.csv``, ``differences.png`` and ``report.html``.

        Args:
            directory: is made if need be.

        Returns:
            The paths of the files.

        Raises:
            OSError: if they cannot be written.
        """
        directory = Path(directory)
        from lightning_tricks.study.figure import png

        # The tables first, so that they are there even where the picture fails.
        files: dict[str, Callable[[], str | bytes]] = {
            "table.csv": self.table_csv,
            "runs.csv": self.runs_csv,
            "report.html": self.html,
            "differences.png": partial(png, self),
        }
        for name, make in files.items():
            write_atomically(directory / name, make())
        return [directory / name for name in files]


def _range(sizes: Iterable[int]) -> str:
    ends = sorted(set(sizes))
    return " to ".join(str(end) for end in (ends if len(ends) < 2 else (ends[0], ends[-1]))) or "no"


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """The value; text that a spreadsheet would compute gets an apostrophe before it, which makes it text there."""
    if isinstance(value, str):
        value = value.replace("\r\n", "\n").replace("\r", "\n")  # the csv module leaves a carriage return unquoted
    starts = isinstance(value, str) and (value.lstrip()[:1] in tuple("=+-@＝＋－＠") or value[:1] in tuple("\t\n"))
    return f"'{value}" if starts else value
