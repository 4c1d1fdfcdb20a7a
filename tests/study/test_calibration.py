"""Studies of identical arms: few may claim a difference, and the intervals must hold zero."""

import pytest

from tests.study import calibration


@pytest.mark.parametrize(("num_seeds", "num_arms"), [(3, 2), (10, 4)])
def test_under_its_own_model_the_interval_is_exact(num_seeds, num_arms):
    result = calibration.model_of_the_correction(studies=1000, num_seeds=num_seeds, num_arms=num_arms)
    assert result.coverage == pytest.approx(0.95, abs=3 * result.coverage_error)
    assert result.false_share <= result.false_share_bound


def test_the_simulation_would_find_a_missing_correction():
    result = calibration.model_of_the_correction(studies=300, num_seeds=10, num_arms=4, corrected=False)
    assert result.coverage < 0.75
    assert result.false_share > 0.3


@pytest.mark.parametrize(("num_seeds", "num_arms"), [(2, 3), (3, 3), (10, 3)])
def test_overlapping_splits(num_seeds, num_arms):
    result = calibration.overlapping_splits(studies=600, num_seeds=num_seeds, num_arms=num_arms)
    assert result.coverage >= 0.95 - 3 * result.coverage_error
    assert result.false_share <= result.false_share_bound


@pytest.mark.slow
def test_digits():
    result = calibration.digits(studies=14, num_seeds=3, num_arms=2)
    # Of 14 studies that are wrong with a chance of 5%, more than 4 are one in two thousand.
    assert result.false_verdicts <= 4
    assert result.coverage >= 0.95 - 3 * max(result.coverage_error, 0.05)


def test_identical_arms_of_the_digits_do_differ():
    """Otherwise their calibration could not fail."""
    records = calibration.digits_study(0, num_seeds=2, num_arms=2).records
    assert len({record["value"] for record in records}) >= 4
