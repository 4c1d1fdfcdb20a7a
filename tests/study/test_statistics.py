import math

import pytest
import torch

from lightning_tricks.study import corrected_interval, student_t_quantile

# Two-sided 95% and 99% points as printed in the tables of statistics books.
TABLE = {
    0.95: {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 10: 2.228, 29: 2.045, 30: 2.042, 120: 1.980},
    0.99: {1: 63.657, 2: 9.925, 3: 5.841, 4: 4.604, 9: 3.250, 10: 3.169, 30: 2.750, 120: 2.617},
}


@pytest.mark.parametrize(("confidence", "degrees"), [(c, d) for c, row in TABLE.items() for d in row])
def test_quantile_is_the_tabulated_one(confidence, degrees):
    assert student_t_quantile(confidence, degrees=degrees) == pytest.approx(TABLE[confidence][degrees], abs=5.1e-4)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.95, 0.9999])
def test_density_integrates_to_the_confidence(confidence, degrees):
    t = student_t_quantile(confidence, degrees=degrees)
    # Simpson's rule over the angle, where the density is smooth however long the tail.
    theta = torch.linspace(0, math.atan(t / math.sqrt(degrees)), 2001, dtype=torch.float64)
    density = theta.cos() ** (degrees - 1)
    weights = torch.full_like(theta, 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    integral = (density * weights).sum().item() * theta[1].item() / 3
    scale = 2 * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    assert scale * integral == pytest.approx(confidence, abs=1e-10)


def test_quantile_approaches_the_normal_one():
    normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(0.975, dtype=torch.float64)).item()
    assert student_t_quantile(0.95, degrees=100_000) == pytest.approx(normal, abs=1e-4)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_outside_its_range_is_refused(confidence):
    with pytest.raises(
        ValueError, match=f"student_t_quantile needs confidence to be above 0 and below 1, but got {confidence}"
    ):
        student_t_quantile(confidence, degrees=2)
    with pytest.raises(
        ValueError, match=f"corrected_interval needs confidence to be above 0 and below 1, but got {confidence}"
    ):
        corrected_interval([0.1], train_size=9, validation_size=3, confidence=confidence)


def test_too_few_degrees_are_refused():
    with pytest.raises(ValueError, match="student_t_quantile needs degrees to be at least 1, but got 0"):
        student_t_quantile(0.95, degrees=0)


def test_interval_by_hand():
    # Mean 2, s² = 4, n = 3, and 1/3 + 1/6 = 1/2: half-width 4.302653 · √2.
    low, high = corrected_interval([0.0, 2.0, 4.0], train_size=600, validation_size=100)
    assert low == pytest.approx(2 - 4.302653 * math.sqrt(2), abs=1e-5)
    assert high == pytest.approx(2 + 4.302653 * math.sqrt(2), abs=1e-5)


def test_interval_obeys_confidence_and_sizes():
    narrow = corrected_interval([0.0, 2.0, 4.0], train_size=600, validation_size=100, confidence=0.5)
    wide = corrected_interval([0.0, 2.0, 4.0], train_size=600, validation_size=300)
    usual = corrected_interval([0.0, 2.0, 4.0], train_size=600, validation_size=100)
    assert narrow[1] < usual[1] < wide[1]


def test_one_difference_has_no_interval():
    assert all(math.isnan(end) for end in corrected_interval([0.3], train_size=9, validation_size=3))


def test_equal_differences_have_an_interval_of_no_width():
    assert corrected_interval([0.5, 0.5, 0.5], train_size=9, validation_size=3) == (0.5, 0.5)


def test_no_difference_is_refused():
    with pytest.raises(ValueError, match="corrected_interval needs at least one difference, but got none"):
        corrected_interval([], train_size=9, validation_size=3)


@pytest.mark.parametrize("part", ["train_size", "validation_size"])
def test_empty_parts_are_refused(part):
    with pytest.raises(ValueError, match=f"corrected_interval needs {part} to be at least 1, but got 0"):
        corrected_interval([0.1, 0.2], **({"train_size": 9, "validation_size": 3} | {part: 0}))
    with pytest.raises(TypeError, match=f"corrected_interval needs {part} to be an integer, but got 0.25"):
        corrected_interval([0.1, 0.2], **({"train_size": 9, "validation_size": 3} | {part: 0.25}))


def test_interval_covers_under_its_model():
    # Splits of one data set share a part: differences with correlation ρ = v/(t+v), for which the correction is exact.
    generator = torch.Generator().manual_seed(0)
    n, train_size, validation_size, studies = 5, 300, 100, 4000
    rho = validation_size / (train_size + validation_size)
    shared = torch.randn(studies, 1, generator=generator, dtype=torch.float64) * math.sqrt(rho)
    own = torch.randn(studies, n, generator=generator, dtype=torch.float64) * math.sqrt(1 - rho)
    intervals = [
        corrected_interval(row, train_size=train_size, validation_size=validation_size)
        for row in (shared + own).tolist()
    ]
    covered = sum(low <= 0 <= high for low, high in intervals) / studies
    assert covered == pytest.approx(0.95, abs=0.01)  # three standard errors of 4,000 studies
