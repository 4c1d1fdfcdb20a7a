"""What the finished runs of a study say: rows, notes and tables."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from lightning_tricks.study.arm import BASELINE
from lightning_tricks.study.comparison import Comparison, Mode, compare

DEMONSTRATION_BELOW = 10
"""Fewer seeds than this are a demonstration."""


@dataclass(frozen=True)
class Findings:
    """The finished runs of a study, or of its confirmation; see :class:`StudyResult`."""

    records: Sequence[Mapping[str, Any]]
    missing: Sequence[tuple[str, int]]
    settings: Mapping[str, Any]
    references: Mapping[str, str]
    part: str
    mode: Mode
    confidence: float
    margin: float | None
    percent: bool = False

    @cached_property
    def rows(self) -> list[Comparison]:
        """One row per arm."""
        return compare(
            self.records,
            references=self.references,
            planned=[*((record["arm"], record["seed"]) for record in self.records), *self.missing],
            mode=self.mode,
            confidence=self.confidence,
            margin=self.margin,
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
        return (
            f"With {_seeds(self.num_seeds)} this is a demonstration, not evidence: take {DEMONSTRATION_BELOW} or more "
            "to decide."
        )

    def notes(self) -> list[str]:
        """What the rows are and how far they carry, in plain sentences."""
        train_size = _range(record["train_size"] for record in self.records)
        eval_size = _range(record["eval_size"] for record in self.records)
        percent, false = f"{100 * self.confidence:g}%", f"{100 * (1 - self.confidence):.3g}%"
        against = "Differences are" + (" from the baseline," if set(self.references.values()) == {BASELINE} else "")
        notes = [
            f"{self.settings['metric']} after the last epoch on the {self.part} part ({eval_size} samples; trained on "
            f"{train_size}), mean of {_seeds(self.num_seeds)}; {'larger' if self.mode == 'max' else 'smaller'} is "
            "better.",
            f"{against} paired by seed: a seed fixes the split, the first weights and the order of the data for "
            f"all arms. Intervals ({percent}) are those of the corrected resampled t, each for itself; verdicts are "
            f"adjusted over the arms, so that at most {false} of such studies make any false claim.",
            *self._notes_on_parts(),
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

    def _notes_on_parts(self) -> list[str]:
        """What is unusual about the training and the evaluated parts."""
        notes, seeds = [], {record["seed"] for record in self.records}
        digests = {(record.get("train_part"), record.get("eval_part")) for record in self.records}
        if self.part == "validation" and len(seeds) > 1 and len(digests) == 1 and None not in next(iter(digests)):
            notes.append(
                "All seeds have the same training and validation parts: the verdicts speak of that one split, and the "
                "intervals are wider than they need be."
            )
        by_seed = {(record["seed"], record.get("train_part"), record.get("eval_part")) for record in self.records}
        if len(by_seed) > len(seeds):
            notes.append(
                "Caution: arms of one seed had different parts, so the data differ between the arms. Split by the seed "
                "that the datamodule is given."
            )
        if equal := max((record.get("equal_samples", 0) for record in self.records), default=0):
            notes.append(
                f"Caution: up to {equal} samples of the {self.part} part equal samples of the training part. Remove "
                "duplicates from the data, or split so that equal samples stay together."
            )
        return notes

    def table_csv(self) -> str:
        """The rows as CSV, everything in the metric's unit; a name that begins like a formula gets an apostrophe."""
        return _csv([field.name for field in fields(Comparison)], [asdict(row) for row in self.rows])

    def runs_csv(self) -> str:
        """The runs as CSV; a name that begins like a formula gets an apostrophe."""
        return _csv(list(self.records[0]) if self.records else [], self.records)


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


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
