import math

import pytest

from lightning_tricks.study import compare, student_t_quantile


def record(arm, seed, value, seconds=1.0, train_size=90, validation_size=30):
    sizes = {"train_size": train_size, "validation_size": validation_size}
    return {"arm": arm, "seed": seed, "metric": "val_acc", "value": value, "seconds": seconds, **sizes}


RECORDS = [
    record("baseline", 0, 0.50, seconds=9.0),
    record("mixup", 0, 0.60),
    record("mixup", 1, 0.85, seconds=4.0),
    record("baseline", 1, 0.80),
    record("baseline", 2, 0.65),
    record("mixup", 2, 0.65, seconds=2.0),
]


def test_rows_are_paired_by_seed():
    baseline, mixup = compare(RECORDS)
    assert (baseline.arm, baseline.num_seeds, mixup.arm, mixup.num_seeds) == ("baseline", 3, "mixup", 3)
    assert baseline.value == pytest.approx(0.65)
    assert (baseline.difference, baseline.low, baseline.high) == (0, 0, 0)
    assert mixup.value == pytest.approx(0.70)
    assert mixup.difference == pytest.approx(0.05)
    half = student_t_quantile(0.95, degrees=2) * 0.05 * math.sqrt(1 / 3 + 30 / 90)  # differences 0.10, 0.05, 0
    assert (mixup.low, mixup.high) == pytest.approx((0.05 - half, 0.05 + half))


def test_seconds_are_the_median():
    baseline, mixup = compare(RECORDS)
    assert (baseline.seconds, mixup.seconds) == (1.0, 2.0)


def test_confidence_and_baseline_are_obeyed():
    narrow = compare(RECORDS, confidence=0.5)[1]
    wide = compare(RECORDS)[1]
    assert wide.low < narrow.low < narrow.high < wide.high
    assert compare(RECORDS, baseline="mixup")[0].difference == pytest.approx(-0.05)


def test_a_seed_without_its_partner_is_left_out():
    mixup = compare([*RECORDS, record("mixup", 3, 0.0)])[1]
    assert mixup.num_seeds == 3
    assert mixup.value == pytest.approx(0.70)


def test_one_seed_has_no_interval():
    row = compare([record("baseline", 0, 0.5), record("mixup", 0, 0.75)])[1]
    assert row.difference == 0.25
    assert math.isnan(row.low)
    assert math.isnan(row.high)


@pytest.mark.parametrize("records", [[record("mixup", 0, 0.5)], [record("baseline", 0, 0.5), record("mixup", 1, 0.5)]])
def test_an_arm_without_a_partner_is_refused(records):
    with pytest.raises(ValueError, match="compare needs a seed of 'baseline' for each arm, but 'mixup' shares none"):
        compare(records)


def test_a_run_done_twice_is_refused():
    with pytest.raises(ValueError, match="arm 'baseline' has two of seed 0"):
        compare([record("baseline", 0, 0.5), record("baseline", 0, 0.6)])


def test_splits_of_two_sizes_are_refused():
    with pytest.raises(
        ValueError, match=r"splits of one size, but got \(training, validation\) \[\(90, 30\), \(91, 30\)\]"
    ):
        compare([record("baseline", 0, 0.5), record("mixup", 0, 0.5, train_size=91)])
