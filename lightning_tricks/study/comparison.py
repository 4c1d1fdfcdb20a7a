"""Each arm of a study beside the baseline, paired by seed."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_tricks.study.statistics import corrected_interval


@dataclass(frozen=True)
class Comparison:
    """One row of a study's table.

    Attributes:
        arm: the arm's name.
        value: its metric, averaged over the seeds.
        difference: the mean of its metric minus the baseline's of the same seed; 0 for the baseline itself.
        low: lower end of the difference's interval; NaN with one seed.
        high: upper end.
        seconds: the median training time of one run.
        num_seeds: how many seeds the row rests on.
    """

    arm: str
    value: float
    difference: float
    low: float
    high: float
    seconds: float
    num_seeds: int


def compare(
    records: Iterable[Mapping[str, Any]], *, baseline: str = "baseline", confidence: float = 0.95
) -> list[Comparison]:
    """Compares every arm with the baseline, seed by seed.

    A seed fixes the split, the first weights and the order of the data for all arms alike, so only the difference
    within a seed is looked at; a seed that one of the two has not finished is left out of that arm's row.

    Args:
        records: the records of :class:`Ablation`, in any order.
        baseline: the name of the arm that the others are compared with.
        confidence: of the intervals, in (0, 1).

    Returns:
        One row an arm, in the order of the arms' first record.

    Raises:
        ValueError: if an arm shares no seed with the baseline, an (arm, seed) occurs twice, or the records come from
            splits of different sizes.

    Example:
        >>> def record(arm, seed, value):
        ...     return dict(arm=arm, seed=seed, value=value, seconds=1.0, train_size=90, validation_size=30)
        >>> rows = compare([record("baseline", 0, 0.5), record("mixup", 0, 0.75)])
        >>> rows[1].arm, rows[1].difference
        ('mixup', 0.25)
    """
    runs: dict[str, dict[int, Mapping[str, Any]]] = {}
    for record in records:
        seeds = runs.setdefault(record["arm"], {})
        if record["seed"] in seeds:
            raise ValueError(
                f"compare needs one record of a run, but arm {record['arm']!r} has two of seed {record['seed']}"
            )
        seeds[record["seed"]] = record
    sizes = {(record["train_size"], record["validation_size"]) for seeds in runs.values() for record in seeds.values()}
    if len(sizes) > 1:
        raise ValueError(f"compare needs splits of one size, but got (training, validation) {sorted(sizes)}")
    reference = runs.get(baseline, {})
    for arm, seeds in runs.items():
        if not seeds.keys() & reference.keys():
            raise ValueError(f"compare needs a seed of {baseline!r} for each arm, but {arm!r} shares none with it")
    return [_row(arm, seeds, reference, confidence) for arm, seeds in runs.items()]


def _row(
    arm: str, seeds: Mapping[int, Mapping[str, Any]], reference: Mapping[int, Mapping[str, Any]], confidence: float
) -> Comparison:
    shared = sorted(seeds.keys() & reference.keys())
    differences = [seeds[seed]["value"] - reference[seed]["value"] for seed in shared]
    sizes = {name: seeds[shared[0]][name] for name in ("train_size", "validation_size")}
    low, high = corrected_interval(differences, **sizes, confidence=confidence)
    return Comparison(
        arm=arm,
        value=statistics.fmean(seeds[seed]["value"] for seed in shared),
        difference=math.fsum(differences) / len(differences),
        low=low,
        high=high,
        seconds=statistics.median(seeds[seed]["seconds"] for seed in shared),
        num_seeds=len(shared),
    )
