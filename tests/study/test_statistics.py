import itertools
import math

import pytest
import torch
from scipy import stats

from lightning_tricks.study import CorrectedT, corrected_t, holm

# Two-sided 95% points of Student's t as printed in the tables of statistics books.
TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize("degrees", TABLE)
def test_interval_has_the_tabulated_width(degrees):
    low, high = CorrectedT(1.0, 0.5, degrees).interval(0.95)
    assert (low, high) == pytest.approx((1 - 0.5 * TABLE[degrees], 1 + 0.5 * TABLE[degrees]), abs=5.1e-4)


def test_t_by_hand():
    # Mean 2, s² = 4, n = 3, and 1/3 + 1/6 = 1/2.
    t = corrected_t([0.0, 2.0, 4.0], train_size=600, eval_size=100)
    assert (t.mean, t.standard_error, t.degrees) == pytest.approx((2, math.sqrt(2), 2))
    low, high = t.interval(0.95)
    assert (low, high) == pytest.approx((2 - 4.302653 * math.sqrt(2), 2 + 4.302653 * math.sqrt(2)), abs=1e-5)


def test_without_a_correction_it_is_the_usual_t():
    differences = [0.3, -0.1, 0.4, 0.25, 0.2]
    t = corrected_t(differences, train_size=10**12, eval_size=1)
    reference = stats.ttest_1samp(differences, 0)
    assert t.p_difference() == pytest.approx(reference.pvalue)
    for confidence in (0.5, 0.95):
        assert t.interval(confidence) == pytest.approx(tuple(reference.confidence_interval(confidence)))
    margin = 0.5
    above = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    below = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    assert t.p_equivalence(margin) == pytest.approx(max(above, below))


def test_equivalence_is_the_interval_within_the_margin():
    t = corrected_t([0.3, -0.1, 0.4, 0.25, 0.2], train_size=300, eval_size=100)
    low, high = t.interval(0.90)
    edge = max(abs(low), abs(high))
    assert t.p_equivalence(edge) == pytest.approx(0.05)
    assert t.p_equivalence(edge * 1.01) < 0.05 < t.p_equivalence(edge * 0.99)


def test_a_difference_beyond_the_margin_is_not_equivalent():
    assert corrected_t([0.3, 0.31, 0.32], train_size=9, eval_size=3).p_equivalence(0.1) > 0.9


def test_one_difference_says_nothing():
    t = corrected_t([0.3], train_size=9, eval_size=3)
    assert t.mean == 0.3
    assert all(math.isnan(end) for end in t.interval(0.95))
    assert (t.p_difference(), t.p_equivalence(10.0)) == (1, 1)


def test_equal_differences_have_no_width():
    # 0.1 three times has a mean that rounds; the variance must be zero all the same.
    t = corrected_t([0.1, 0.1, 0.1], train_size=9, eval_size=3)
    assert t.standard_error == 0
    assert t.p_difference() == 0
    assert t.p_equivalence(0.2) == 0
    assert t.p_equivalence(0.05) == 1
    none = corrected_t([0.0, 0.0], train_size=9, eval_size=3)
    assert (none.p_difference(), none.interval(0.95)) == (1, (0, 0))


def test_resolution_bounds_the_spread_from_below():
    sizes = {"train_size": 300, "eval_size": 100}
    bounded = corrected_t([0.01, 0.01, 0.01], **sizes, resolution=0.01)
    assert bounded.standard_error == pytest.approx(0.01 / math.sqrt(12) * math.sqrt(1 / 3 + 1 / 3))
    assert bounded.p_difference() > 0.05
    spread = [0.3, -0.1, 0.4]
    assert corrected_t(spread, **sizes, resolution=0.01) == corrected_t(spread, **sizes)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="corrected_t: expected at least one difference, but got none"):
        corrected_t([], train_size=9, eval_size=3)
    for sizes in ((0, 3), (9, 0)):
        with pytest.raises(ValueError, match=f"got {sizes[0]} training and {sizes[1]} evaluated samples"):
            corrected_t([0.1, 0.2], train_size=sizes[0], eval_size=sizes[1])
    for confidence in (0, 1, 95):
        with pytest.raises(ValueError, match=rf"expected `confidence` in \(0, 1\), but got {confidence}"):
            CorrectedT(0, 1, 2).interval(confidence)


def test_holm_by_hand():
    assert holm([[0.01], [0.04], [0.03]]) == [[0.03], [0.06], [0.06]]
    assert holm([[0.5], [0.9]]) == [[1.0], [1.0]]
    assert holm([]) == []


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_holm_of_single_hypotheses_is_the_step_down_method(count):
    generator = torch.Generator().manual_seed(count)
    for p_values in torch.rand(20, count, generator=generator, dtype=torch.float64).tolist():
        adjusted = [group[0] for group in holm([[p] for p in p_values])]
        for level in (0.05, 0.3, 0.8):
            rejected = set()
            for step, place in enumerate(sorted(range(count), key=p_values.__getitem__)):
                if p_values[place] > level / (count - step):
                    break
                rejected.add(place)
            assert {place for place in range(count) if adjusted[place] <= level} == rejected


def test_groups_are_counted_by_how_many_members_can_be_true():
    # Of each pair one at most is true: the first two steps leave two candidates, and only the last pair's two one.
    assert holm([[0.01, 0.02], [0.03, 0.9]]) == [[0.02, 0.04], [0.04, 0.9]]


@pytest.mark.parametrize("truth", list(itertools.combinations_with_replacement(("none", "large", "within"), 3)))
def test_no_mixture_of_truths_makes_more_false_claims_than_the_level(truth):
    """Normal differences whose variance is known; claims of a difference and of none are both made."""
    generator = torch.Generator().manual_seed(7)
    studies, margin, level = 1500, 1.0, 0.2
    shift = torch.tensor([{"none": 0.0, "large": margin, "within": 0.4}[kind] for kind in truth])
    means = shift + torch.randn(studies, 3, generator=generator) * 0.3
    wrong = 0
    for row in means.tolist():
        tests = [CorrectedT(mean, 0.3, 10**6) for mean in row]
        adjusted = holm([[t.p_difference(), t.p_equivalence(margin)] for t in tests])
        wrong += any(
            (kind == "none" and p <= level) or (kind == "large" and q <= level)
            for kind, (p, q) in zip(truth, adjusted, strict=True)
        )
    assert wrong / studies <= level + 3 * math.sqrt(level * (1 - level) / studies)
