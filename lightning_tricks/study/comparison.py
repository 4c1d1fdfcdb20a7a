"""Each arm of a study beside the arm that it is compared with, paired by seed."""

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from lightning_tricks.functional.checks import check_choice, check_number
from lightning_tricks.study.arm import BASELINE
from lightning_tricks.study.statistics import CorrectedT, corrected_t, holm, metric_step

Mode = Literal["max", "min"]
Kind = Literal["", "helps", "hurts", "no difference", "inconclusive", "diverged", "missing"]
_MAX = (
    "acc|accuracy|accuracies|ap|auc|auroc|auprc|aupr|correct|dice|f1|f2|fbeta|hit|iou|jaccard|kappa|map|mar|matthews|"
    "mcc|prec|precision|psnr|recall|sensitivity|specificity|ssim|tnr|tpr"
)
_MIN = (
    "bce|brier|ce|cer|crossentropy|distance|ece|eer|err|error|fid|fnr|fpr|hamming|kld?|logloss|loss|losses|lpips|mae|"
    "mape|misclassification|mse|msle|nll|perplexity|ppl|rmse|rmsle|smape|wer|wrong|xent"
)
_GLUED = "(?:val|valid|validation|test|eval|dev|avg|mean|macro|micro|m)?"
_WORDS: dict[Mode, re.Pattern[str]] = {
    "max": re.compile(rf"{_GLUED}(?:{_MAX})s?\d*"),
    "min": re.compile(rf"{_GLUED}(?:{_MIN})s?\d*"),
}
# The metric is then something else than the word beside them.
_TURNED = re.compile(
    r"neg|negative|minus|inv|inverse|inverted|drop|gap|delta|diff|difference|change|no|non|not|without|free|std|variance"
)


@dataclass(frozen=True)
class Comparison:
    """One row of a study's table.

    Attributes:
        arm: the arm's name.
        reference: the arm that it is compared with; its own name for the baseline.
        value: its metric, averaged over the seeds; NaN if a run diverged.
        difference: the mean of its metric minus the reference's of the same seed; 0 for the baseline; NaN if a run of
            either diverged.
        low: lower end of the difference's interval, each row for itself; NaN with one seed.
        high: upper end.
        p_value: of "there is no difference", adjusted over the arms; NaN for the baseline, and while runs are missing.
        verdict: ``"helps"``, ``"hurts"``, ``"no difference beyond ±margin"`` (the number in its place) or
            ``"inconclusive with n seeds"``; ``"diverged"`` or ``"diverged in k of n runs"``, with the reference's name
            before it if the reference did; ``"no verdict, n runs missing"`` while the study is not finished; empty for
            the baseline.
        kind: the verdict without its numbers: ``"helps"``, ``"hurts"``, ``"no difference"``, ``"inconclusive"``,
            ``"diverged"``, ``"missing"``, or empty for the baseline.
        num_seeds: how many seeds the row rests on.
        diverged: how many of the arm's runs on those seeds ended with a metric or a weight that is not finite.
        seconds: the median time of one run.
        peak_memory: the median peak memory of one run in bytes; NaN where it could not be measured.
    """

    arm: str
    reference: str
    value: float
    difference: float
    low: float
    high: float
    p_value: float
    verdict: str
    kind: Kind
    num_seeds: int
    diverged: int
    seconds: float
    peak_memory: float


def compare(
    records: Iterable[Mapping[str, Any]],
    *,
    baseline: str = BASELINE,
    references: Mapping[str, str] | None = None,
    planned: Iterable[tuple[str, int]] | None = None,
    mode: Mode | None = None,
    confidence: float = 0.95,
    margin: float | None = None,
) -> list[Comparison]:
    """Compares every arm with its reference, seed by seed.

    Only the difference within a seed is looked at; a seed that one of the two has not finished is left out of that
    arm's row. The interval is that of the corrected resampled t. A verdict other than "inconclusive" needs a p-value,
    adjusted by Holm's method over all arms and both kinds of claims, of at most 1 − ``confidence``: at most that share
    of studies makes any false claim. An arm whose difference is shown "helps" or "hurts" even if the difference is
    within the margin. While a planned run is missing there is no verdict.

    An arm whose every run diverged has the verdict "diverged", even if its metric is finite, as an accuracy is. If the
    metric of some runs is not finite, the verdict is "diverged in k of n runs". Other diverged runs count with the
    metric that they ended with. The standard deviation of a difference is at least that of rounding to the metric's
    step, which is taken from the values of all runs and from ``eval_size``.

    Args:
        records: the records of :class:`Ablation`, in any order.
        baseline: the arm that an arm is compared with unless ``references`` has another.
        references: arm to the arm that it is compared with.
        planned: the (arm, seed) pairs of the whole study; ``None`` for every arm on every seed that the records have.
        mode: ``"max"`` if a larger metric is better, ``"min"`` if a smaller one is; ``None`` takes it from the name
            that the records give their metric.
        confidence: of the intervals, in (0, 1).
        margin: the largest difference that does not matter, above 0 and in the metric's unit; ``None`` for no claims of
            no difference.

    Returns:
        One row per arm, in the order of ``planned``, or else of the arms' first record.

    Raises:
        TypeError: if ``mode`` is no string, or ``confidence`` or ``margin`` no number.
        ValueError: if an (arm, seed) occurs twice, arms of one seed come from splits of different sizes, an argument
            is out of its range, or ``mode`` is not given and the metric's name does not say it.
        ModuleNotFoundError: scipy is not installed; it comes with ``pip install lightning-tricks[cli]``.

    Example:
        >>> def record(arm, seed, value):
        ...     sizes = dict(train_size=90, eval_size=30)
        ...     return dict(arm=arm, seed=seed, metric="val_acc", value=value, seconds=1.0, **sizes)
        >>> values = {"baseline": (0.50, 0.52, 0.51), "mixup": (0.75, 0.78, 0.76)}
        >>> rows = compare([record(arm, seed, x) for arm in values for seed, x in enumerate(values[arm])])
        >>> rows[1].arm, round(rows[1].difference, 3), rows[1].verdict
        ('mixup', 0.253, 'helps')
    """
    records = list(records)
    if mode is None:
        mode = direction("compare", next((str(record["metric"]) for record in records if "metric" in record), ""))
    check_choice("compare", "mode", mode, ("max", "min"))
    check_number("compare", "confidence", confidence, above=0, below=1)
    if margin is not None:
        check_number("compare", "margin", margin, above=0)
    runs = _by_arm_and_seed(records)
    if planned is None:
        planned = itertools.product(runs, {record["seed"] for record in records})
    planned = list(planned)
    missing = sum(seed not in runs.get(arm, {}) for arm, seed in planned)
    runs = {arm: runs.get(arm, {}) for arm in dict.fromkeys([*(arm for arm, _ in planned), *runs])}
    against = {arm: arm if arm == baseline else (references or {}).get(arm, baseline) for arm in runs}
    pairs = {arm: _Pair.of(runs[arm], runs.get(against[arm], {})) for arm in runs}
    step = _step(records)
    tests = {arm: pair.test(step) for arm, pair in pairs.items()}
    claims = [_p_values(tests[arm], margin) for arm in runs if arm != baseline]
    adjusted = dict(zip((arm for arm in runs if arm != baseline), holm(claims), strict=True))
    rows = []
    for arm, pair in pairs.items():
        test, own = tests[arm], [record["value"] for record in pair.own]
        low, high = test.interval(confidence) if test else (math.nan, math.nan)
        kind: Kind
        if arm == baseline:
            low, high, kind, verdict = 0.0, 0.0, "", ""
        elif missing:
            kind, verdict = "missing", f"no verdict, {missing} run{'' if missing == 1 else 's'} missing"
        elif verdict := _divergence(pair, against[arm]):
            kind = "diverged"
        else:
            better = test is not None and (test.mean > 0) == (mode == "max")
            kind = _kind(adjusted[arm], 1 - confidence, better=better)
            seeds = f"{len(own)} seed{'' if len(own) == 1 else 's'}"
            with_numbers = {"no difference": f" beyond ±{margin or 0:g}", "inconclusive": f" with {seeds}"}
            verdict = kind + with_numbers.get(kind, "")
        rows.append(
            Comparison(
                arm=arm,
                reference=against[arm],
                value=_mean(own),
                difference=test.mean if test else math.nan,
                low=low,
                high=high,
                p_value=adjusted[arm][0] if arm in adjusted and not missing else math.nan,
                verdict=verdict,
                kind=kind,
                num_seeds=len(own),
                diverged=sum(map(_has_diverged, pair.own)),
                seconds=_median([record["seconds"] for record in pair.own]),
                peak_memory=_median([record.get("peak_memory") or math.nan for record in pair.own]),
            )
        )
    return rows


def _by_arm_and_seed(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, Mapping[str, Any]]]:
    runs: dict[str, dict[int, Mapping[str, Any]]] = {}
    for record in records:
        seeds = runs.setdefault(record["arm"], {})
        if record["seed"] in seeds:
            raise ValueError(f"compare: arm {record['arm']!r} has two records of seed {record['seed']}.")
        seeds[record["seed"]] = record
    for seed in {seed for seeds in runs.values() for seed in seeds}:
        sizes = {_sizes(seeds[seed]) for seeds in runs.values() if seed in seeds}
        if len(sizes) > 1:
            raise ValueError(
                f"compare needs all arms of a seed to share its split, but those of seed {seed} have (training, "
                f"evaluated) {sorted(sizes)}."
            )
    return runs


@dataclass(frozen=True)
class _Pair:
    """The runs of an arm and of its reference on the seeds that both have finished, seed by seed."""

    own: list[Mapping[str, Any]]
    reference: list[Mapping[str, Any]]

    @classmethod
    def of(cls, own: Mapping[int, Mapping[str, Any]], reference: Mapping[int, Mapping[str, Any]]) -> "_Pair":
        shared = sorted(own.keys() & reference.keys())
        return cls([own[seed] for seed in shared], [reference[seed] for seed in shared])

    def test(self, step: float) -> CorrectedT | None:
        """``None`` if there is no seed, or a run diverged."""
        values = [(own["value"], other["value"]) for own, other in zip(self.own, self.reference, strict=True)]
        if not values or not all(math.isfinite(value) for pair in values for value in pair):
            return None
        # Where seeds differ in size, as splits by group do, the shares of all of them are what counts.
        train_size, eval_size = (sum(sizes) for sizes in zip(*map(_sizes, self.own), strict=True))
        differences = [own - other for own, other in values]
        return corrected_t(differences, train_size=train_size, eval_size=eval_size, resolution=step)


def _has_diverged(record: Mapping[str, Any]) -> bool:
    return bool(record.get("diverged")) or not math.isfinite(record["value"])


def _divergence(pair: _Pair, reference: str) -> str:
    """The verdict for runs that diverged, of the arm or else of its reference; empty where a difference is left."""
    for name, runs in (("", pair.own), (f"{reference} ", pair.reference)):
        diverged = sum(map(_has_diverged, runs))
        if runs and diverged == len(runs):
            return f"{name}diverged"
        if not all(math.isfinite(record["value"]) for record in runs):
            return f"{name}diverged in {diverged} of {len(runs)} runs"
    return ""


def _sizes(record: Mapping[str, Any]) -> tuple[int, int]:
    return record["train_size"], record["eval_size"]


def _step(records: Sequence[Mapping[str, Any]]) -> float:
    """The metric's step; where seeds differ in size, the widest."""
    values: dict[int, list[float]] = {}
    for record in records:
        if math.isfinite(record["value"]):
            values.setdefault(record["eval_size"], []).append(record["value"])
    return max((metric_step(those, size) for size, those in values.items()), default=0.0)


def _p_values(test: CorrectedT | None, margin: float | None) -> list[float]:
    if test is None:
        return [1.0]
    return [test.p_difference()] if margin is None else [test.p_difference(), test.p_equivalence(margin)]


def _kind(adjusted: Sequence[float], level: float, *, better: bool) -> Kind:
    """The kind of a verdict, of the adjusted p-values of "no difference" and, with a margin, of "beyond the margin"."""
    if adjusted[0] <= level:
        return "helps" if better else "hurts"
    return "no difference" if len(adjusted) > 1 and adjusted[1] <= level else "inconclusive"


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def direction(owner: str, metric: str) -> Mode:
    """Whether the metric's name says that larger or smaller values are better; ValueError if neither, or both."""
    chunks = re.findall(r"[^\W_]+", metric)
    # "mIoU" is one word and "valLoss" two, so both readings count.
    camel = [part for chunk in chunks for part in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+", chunk)]
    words = {word.lower() for word in (*chunks, *camel)}
    words |= {(first + second).lower() for first, second in pairwise(chunks)}
    said: set[Mode] = {mode for mode, known in _WORDS.items() if any(known.fullmatch(word) for word in words)}
    if not said and any(re.fullmatch(r"top\d+", word) for word in words):
        said = {"max"}
    if any(_TURNED.fullmatch(word) for word in words) or re.search(r"(^|/)\s*1\s*[-−]", metric):
        said = set()
    if len(said) != 1:
        raise ValueError(
            f"{owner} needs mode to be given, for the name of metric {metric!r} does not say which values are better: "
            "pass mode='max' if larger ones are, mode='min' if smaller ones are."
        )
    return said.pop()
