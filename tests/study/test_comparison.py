import math

import pytest

from lightning_tricks.study import compare, corrected_t


def record(arm, seed, value, seconds=1.0, train_size=90, eval_size=30, **more):
    sizes = {"train_size": train_size, "eval_size": eval_size}
    return {"arm": arm, "seed": seed, "metric": "val_acc", "value": value, "seconds": seconds, **sizes, **more}


def records(**arms):
    """One record for each value of each arm, seed by seed."""
    return [record(arm, seed, value) for arm, values in arms.items() for seed, value in enumerate(values)]


RECORDS = [
    record("baseline", 0, 0.501, seconds=9.0),
    record("mixup", 0, 0.601, peak_memory=3),
    record("mixup", 1, 0.851, seconds=4.0, peak_memory=9),
    record("baseline", 1, 0.801),
    record("baseline", 2, 0.651),
    record("mixup", 2, 0.651, seconds=2.0, peak_memory=None),
]
GOOD = {"baseline": [0.5, 0.51, 0.52, 0.53], "mixup": [0.801, 0.811, 0.822, 0.83]}
NOISY = [0.43, 0.61, 0.57, 0.46]


def test_rows_are_paired_by_seed():
    baseline, mixup = compare(RECORDS)
    assert (baseline.arm, baseline.reference, baseline.num_seeds) == ("baseline", "baseline", 3)
    assert (mixup.arm, mixup.reference, mixup.num_seeds) == ("mixup", "baseline", 3)
    assert baseline.value == pytest.approx(0.651)
    assert (baseline.difference, baseline.low, baseline.high, baseline.verdict) == (0, 0, 0, "")
    assert math.isnan(baseline.p_value)
    assert mixup.value == pytest.approx(0.701)
    assert mixup.difference == pytest.approx(0.05)
    half = 4.302653 * 0.05 * math.sqrt(1 / 3 + 30 / 90)  # differences 0.10, 0.05, 0
    assert (mixup.low, mixup.high) == pytest.approx((0.05 - half, 0.05 + half), abs=1e-6)


def test_costs_are_medians():
    baseline, mixup = compare(RECORDS)
    assert (baseline.seconds, mixup.seconds) == (1.0, 2.0)
    assert mixup.peak_memory == 6
    assert math.isnan(baseline.peak_memory)


def test_confidence_and_baseline_are_obeyed():
    narrow = compare(RECORDS, confidence=0.5)[1]
    wide = compare(RECORDS)[1]
    assert wide.low < narrow.low < narrow.high < wide.high
    assert compare(RECORDS, baseline="mixup")[0].difference == pytest.approx(-0.05)
    assert compare(RECORDS, confidence=0.3)[1].verdict == "helps"
    assert wide.verdict == "inconclusive with 3 seeds"


def test_references_are_obeyed():
    rows = compare(records(baseline=[0.1, 0.2], recipe=[0.5, 0.7], less=[0.4, 0.5]), references={"less": "recipe"})
    assert [row.reference for row in rows] == ["baseline", "baseline", "recipe"]
    assert [row.difference for row in rows] == pytest.approx([0, 0.45, -0.15])


def test_verdicts():
    (_, mixup) = compare(records(**GOOD))
    assert (mixup.verdict, mixup.p_value < 0.001) == ("helps", True)
    assert compare(records(**GOOD), mode="min")[1].verdict == "hurts"
    worse = {"baseline": GOOD["mixup"], "mixup": GOOD["baseline"]}
    assert compare(records(**worse))[1].verdict == "hurts"
    assert compare(records(**worse), mode="min")[1].verdict == "helps"
    close = records(baseline=GOOD["baseline"], same=[0.502, 0.512, 0.519, 0.531], noisy=NOISY)
    assert [row.verdict for row in compare(close)[1:]] == ["inconclusive with 4 seeds"] * 2
    assert [row.verdict for row in compare(close, margin=0.02)[1:]] == [
        "no difference beyond ±0.02",
        "inconclusive with 4 seeds",
    ]
    assert compare(close, margin=0.001)[1].verdict == "inconclusive with 4 seeds"
    assert compare(records(**GOOD), margin=2.0)[1].verdict == "helps"


def test_p_values_are_adjusted_over_the_arms():
    spread = GOOD | {"mixup": [0.751, 0.811, 0.872, 0.83]}
    alone = compare(records(**spread))[1].p_value
    five = compare(records(**spread, **{f"noisy{i}": NOISY for i in range(4)}))
    assert five[1].p_value == pytest.approx(5 * alone)
    test = corrected_t([0.251, 0.301, 0.352, 0.3], train_size=90, eval_size=30)
    assert alone == pytest.approx(test.p_difference())


def test_a_seed_without_its_partner_is_left_out():
    mixup = compare([*RECORDS, record("mixup", 3, 0.0)])[1]
    assert mixup.num_seeds == 3
    assert mixup.value == pytest.approx(0.701)


def test_while_runs_are_missing_there_is_no_verdict():
    late = {f"late{i}": NOISY for i in range(4)}
    runs = records(baseline=[0.50, 0.51, 0.52, 0.53], mixup=[0.65, 0.58, 0.66, 0.61], **late)
    assert compare(runs[:8])[1].verdict == "helps", "alone"
    assert compare(runs)[1].verdict == "inconclusive with 4 seeds", "among all arms"
    planned = [(run["arm"], run["seed"]) for run in runs]
    for kept in (runs[:8], runs[:-1], [*runs[:7], *runs[8:]]):
        rows = compare(kept, planned=planned)
        missing = len(runs) - len(kept)
        words = f"no verdict, {missing} run{'' if missing == 1 else 's'} missing"
        assert [(row.arm, row.verdict) for row in rows[1:]] == [(arm, words) for arm in ("mixup", *late)]
        assert all(math.isnan(row.p_value) for row in rows)
        assert rows[0].verdict == ""
    assert rows[1].difference == pytest.approx(0.12), "its interval is shown all the same"
    assert compare(runs, planned=planned) == compare(runs)
    assert compare(runs[:-1])[1].verdict == "no verdict, 1 run missing", "a seed that other arms have"


def test_one_seed_has_no_interval():
    row = compare([record("baseline", 0, 0.5), record("mixup", 0, 0.75)])[1]
    assert (row.difference, row.verdict) == (0.25, "inconclusive with 1 seed")
    assert math.isnan(row.low)
    assert math.isnan(row.high)


@pytest.mark.parametrize("runs", [[record("mixup", 0, 0.5)], [record("baseline", 0, 0.5), record("mixup", 1, 0.5)]])
def test_an_arm_without_a_partner_rests_on_no_seed(runs):
    mixup = compare(runs)[-1]
    assert mixup.num_seeds == 0
    assert mixup.verdict == ("inconclusive with 0 seeds" if len(runs) == 1 else "no verdict, 2 runs missing")
    assert math.isnan(mixup.difference)
    assert math.isnan(mixup.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_diverged_arm_is_a_row_without_a_difference(bad):
    runs = records(**GOOD, diverged=[0.7, 0.7, 0.7, 0.7], good=GOOD["mixup"])
    runs[8] |= {"value": bad, "diverged": True}
    _, mixup, diverged, good = compare(runs, margin=0.1)
    assert (diverged.num_seeds, diverged.diverged, diverged.verdict) == (4, 1, "diverged in 1 of 4 runs")
    assert math.isnan(diverged.difference)
    assert math.isnan(diverged.low)
    assert not math.isfinite(diverged.value)
    assert (mixup.verdict, good.verdict, good.diverged) == ("helps", "helps", 0)


def test_a_diverged_baseline_leaves_no_difference():
    runs = records(baseline=[0.5, math.nan], mixup=[0.5, 0.6])
    row = compare(runs)[1]
    assert math.isnan(row.difference)
    assert row.verdict == "baseline diverged in 1 of 2 runs"


@pytest.mark.parametrize(
    ("values", "flagged", "verdict"),
    [
        ([math.nan] * 4, 4, "diverged"),
        ([math.inf] * 4, 0, "diverged"),  # of records that carry no flag
        ([0.1] * 4, 4, "diverged"),  # the accuracy of a net whose weights are NaN is finite
        ([0.1, math.nan, 0.1, 0.1], 4, "diverged"),
        ([0.7, math.nan, 0.7, math.nan], 2, "diverged in 2 of 4 runs"),
        ([0.7, math.nan, 0.7, 0.1], 3, "diverged in 3 of 4 runs"),
        ([0.801, 0.811, 0.822, 0.83], 1, "helps"),
    ],
)
@pytest.mark.parametrize("of_reference", [False, True])
def test_runs_that_diverged_give_the_verdict(values, flagged, verdict, of_reference):
    runs = records(baseline=GOOD["baseline"], arm=values, against=GOOD["mixup"])
    diverged = sorted((run for run in runs if run["arm"] == "arm"), key=lambda run: math.isfinite(run["value"]))
    for run in diverged[:flagged]:
        run["diverged"] = True
    arm, against = compare(runs, references={"against": "arm" if of_reference else "baseline"})[1:]
    assert arm.verdict == verdict
    if of_reference and verdict != "helps":
        assert against.verdict == f"arm {verdict}"
    elif not of_reference:
        assert against.verdict == "helps"


def test_a_single_seed_that_diverged_says_so():
    assert compare(records(baseline=[0.5], mixup=[math.nan]))[1].verdict == "diverged"


def test_a_metric_in_steps_cannot_agree_by_chance():
    # One more of 30 right in both splits; a metric without steps that agrees to the last digit is another matter.
    steps = records(baseline=[15 / 30, 18 / 30], mixup=[16 / 30, 19 / 30])
    assert compare(steps)[1].verdict == "inconclusive with 2 seeds"
    smooth = records(baseline=[0.5, 0.515625], mixup=[0.765625, 0.78125])
    assert compare(smooth)[1].verdict == "helps"
    # Identical arms show nothing, and no difference beyond a margin that is more than the metric's step.
    same = records(baseline=[15 / 30] * 10, mixup=[15 / 30] * 10)
    assert compare(same)[1].verdict == "inconclusive with 10 seeds"
    assert compare(same, margin=0.03)[1].verdict == "no difference beyond ±0.03"


def test_seeds_may_differ_in_size():
    sizes = [{"train_size": 90, "eval_size": 30}, {"train_size": 70, "eval_size": 50}]
    runs = [
        record(arm, seed, value, **size)
        for arm, values in {"baseline": (0.501, 0.502), "mixup": (0.521, 0.602)}.items()
        for seed, (value, size) in enumerate(zip(values, sizes, strict=True))
    ]
    row = compare(runs)[1]
    reference = corrected_t([0.02, 0.1], train_size=160, eval_size=80)
    assert (row.low, row.high) == pytest.approx(reference.interval(0.95))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="arm 'baseline' has two records of seed 0"):
        compare([record("baseline", 0, 0.5), record("baseline", 0, 0.6)])
    with pytest.raises(ValueError, match=r"those of seed 0 have \(training, evaluated\) \[\(90, 30\), \(91, 30\)\]"):
        compare([record("baseline", 0, 0.5), record("mixup", 0, 0.5, train_size=91)])
    with pytest.raises(ValueError, match="mode to be one of 'max', 'min', but got 'best'"):
        compare(RECORDS, mode="best")
    with pytest.raises(ValueError, match="margin to be above 0, but got 0"):
        compare(RECORDS, margin=0)
    with pytest.raises(ValueError, match="confidence to be above 0 and below 1, but got 95"):
        compare(RECORDS, confidence=95)
