import math

import numpy as np
import pytest
from scipy import stats

from lightning_tricks.study import CorrectedT, corrected_t
from lightning_tricks.study.sequential import (
    detectable_difference,
    is_futile,
    look,
    predictive_power,
    seeds_needed,
    sequential_p,
    with_images,
)
from lightning_tricks.study.statistics import paired_t
from tests.study import looks


@pytest.mark.parametrize("n", [2, 3, 7, 32])
def test_paired_t_is_scipys(n):
    differences = np.random.default_rng(n).normal(0.3, size=n)
    test, reference = paired_t(differences.tolist()), stats.ttest_1samp(differences, 0)
    assert test.p_difference() == pytest.approx(reference.pvalue)
    for confidence in (0.5, 0.95):
        assert test.interval(confidence) == pytest.approx(tuple(reference.confidence_interval(confidence)))


def test_paired_t_of_little():
    assert math.isnan(paired_t([0.1]).standard_error)
    assert paired_t([0.1, 0.1], resolution=0.06).standard_error == pytest.approx(0.06 / math.sqrt(24))
    with pytest.raises(ValueError, match="paired_t needs at least one difference, but got none"):
        paired_t([])


def test_sequential_p_by_hand():
    assert sequential_p([0.2, 0.01, 0.3], num_looks=4) == 0.04
    assert sequential_p([0.5], num_looks=4) == 1
    assert sequential_p([], num_looks=4) == 1


def test_sequential_p_holds_at_every_stopping_time():
    """Stopping at the smallest p of all looks is the worst that anybody can do."""
    differences = np.random.default_rng(0).normal(size=(4000, 32))
    p = np.stack([stats.ttest_1samp(differences[:, :n], 0, axis=1).pvalue for n in (4, 8, 16, 32)], 1)
    wrong = np.mean([sequential_p(row, num_looks=4) <= 0.05 for row in p.tolist()])
    assert 0.02 < wrong <= 0.05
    assert np.mean(p.min(1) <= 0.05) > 0.1, "without the correction"


@pytest.mark.parametrize(("mean", "n"), [(0.0, 8), (0.5, 8), (-0.5, 8), (1.5, 8), (0.4, 16)])
def test_predictive_power_is_the_share_of_futures(mean, n):
    rng = np.random.default_rng(0)
    deviation = np.sqrt((n - 1) / rng.chisquare(n - 1, size=20_000))
    truth = mean + deviation * rng.normal(size=20_000) / math.sqrt(n)
    future = truth[:, None] + deviation[:, None] * rng.normal(size=(20_000, 32 - n))
    total = (n * mean + future.sum(1)) / 32
    squares = n * mean**2 + (n - 1) + (future**2).sum(1)
    t = total / np.sqrt((squares - 32 * total**2) / 31 / 32)
    share = np.mean(np.abs(t) > stats.t.ppf(1 - 0.0025 / 2, 31))
    test = CorrectedT(mean, 1 / math.sqrt(n), n - 1)
    # The approximation keeps the spread that was seen.
    assert predictive_power(test, last=32, level=0.0025) == pytest.approx(share, abs=0.05)


def test_futility():
    assert is_futile(CorrectedT(0.05, 1 / math.sqrt(8), 7), last=32, level=0.0025)
    assert not is_futile(CorrectedT(0.05, 0.5, 3), last=32, level=0.0025), "too early"
    assert not is_futile(CorrectedT(0.9, 1 / math.sqrt(8), 7), last=32, level=0.0025)
    assert predictive_power(CorrectedT(0.9, 0.1, 31), last=32, level=0.0025) == 1
    assert predictive_power(CorrectedT(0.1, 0.1, 31), last=32, level=0.0025) == 0
    assert predictive_power(CorrectedT(0.1, math.nan, 0), last=32, level=0.0025) == 1
    assert predictive_power(CorrectedT(0.0, 0.0, 7), last=32, level=0.0025) == 0


def test_look_by_hand():
    close = [0.3, -0.2, 0.1, -0.25]
    tests = {"good": [paired_t([1.0, 1.01, 0.99, 1.0])], "none": [paired_t(close)], "late": []}
    first = look(tests)
    p = tests["good"][0].p_difference()
    assert first.adjusted == pytest.approx({"good": 3 * 4 * p, "none": 1.0, "late": 1.0})
    assert first.open == ["none", "late"]
    tests["none"].append(paired_t([*close, 0.01, -0.02, 0.2, -0.1]))
    second = look(tests)
    assert second.adjusted["good"] == pytest.approx(12 * p), "the smallest p is kept"
    assert second.open == ["late"], "futile"
    assert look({"none": [paired_t(close * 8)]}).open == [], "the last look"
    assert look({}).open == []


@pytest.mark.parametrize(
    ("mean", "level", "power"), [(1.0, 0.05, 0.8), (-1.0, 0.01, 0.85), (0.3, 0.0025, 0.5), (4.0, 0.05, 0.8)]
)
def test_seeds_needed_is_a_search_through_the_noncentral_t(mean, level, power):
    def shown(n):
        return stats.nct.sf(stats.t.ppf(1 - level / 2, n - 1), n - 1, abs(mean) * math.sqrt(n))

    n = seeds_needed(2 * mean, 2.0, level=level, power=power)
    assert n == next(n for n in range(2, 1000) if shown(n) >= power)


def test_seeds_needed_of_nothing():
    assert seeds_needed(0.0, 1.0, level=0.05) is None
    assert seeds_needed(1e-4, 1.0, level=0.05) is None
    assert seeds_needed(0.1, 0.0, level=0.05) == 2
    assert seeds_needed(0.0, 0.0, level=0.05) is None
    assert seeds_needed(1e6, 1.0, level=0.05) is not None


def test_detectable_difference_is_found_with_the_power():
    """Means of very many splits that correlate as Nadeau and Bengio suppose."""
    rng = np.random.default_rng(0)
    difference = detectable_difference(2.0, train_size=300, eval_size=100)
    found = 0
    for _ in range(1000):
        shared = 2.0 * math.sqrt(1 / 3) * rng.normal()
        values = difference + shared + 2.0 * rng.normal(size=400)
        found += corrected_t(values.tolist(), train_size=300, eval_size=100).p_difference() <= 0.05
    assert found / 1000 == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 1000) + 0.01)
    assert detectable_difference(2.0, train_size=300, eval_size=100, level=0.01) > difference


@pytest.mark.parametrize(("of_seeds", "of_images", "of_both"), [(0.02, 0.2, 0.4), (0.0, 0.3, 0.2), (0.1, 0.0, 0.3)])
def test_the_second_interval_covers_other_images(of_seeds, of_images, of_both):
    rng = np.random.default_rng(0)
    narrow = wide = 0
    for _ in range(600):
        scores = (
            of_seeds * rng.normal(size=(6, 1))
            + of_images * rng.normal(size=(1, 50))
            + of_both * rng.normal(size=(6, 50))
        )
        test = paired_t(scores.mean(1).tolist())
        both = with_images(test, scores.mean(0).tolist())
        wide += both.interval(0.95)[0] <= 0 <= both.interval(0.95)[1]
        narrow += test.interval(0.95)[0] <= 0 <= test.interval(0.95)[1]
    assert wide / 600 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 600)
    if of_images == 0.3:
        assert narrow / 600 < 0.6


def test_the_second_interval_by_hand():
    images = [0.0, 1.0, 0.0, -1.0, 1.0]
    both = with_images(CorrectedT(0.2, 0.1, 3), images)
    variance = np.var(images, ddof=1) / 5
    assert both.mean == 0.2
    assert both.standard_error == pytest.approx(math.sqrt(0.01 + variance))
    assert both.degrees == pytest.approx((0.01 + variance) ** 2 / (0.01**2 / 3 + variance**2 / 4))
    with pytest.raises(ValueError, match="with_images needs two or more images, but got 1"):
        with_images(CorrectedT(0.2, 0.1, 3), [1.0])


def test_planned_looks_reach_the_aims():
    figures = looks.figures(studies=250)
    assert figures["false claims"] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 250)
    assert figures["power"] >= 0.8
    assert figures["seeds of the real arm"] <= 20
    assert figures["trainings"] <= 0.7 * figures["trainings of the fixed design"]
