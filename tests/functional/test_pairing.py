import pytest

from lightning_tricks.functional._pairing import partner_slices


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 6, 7, 15])
def test_every_sample_meets_the_one_at_the_distance(n, shift):
    samples = list(range(n))
    pairs = [
        pair for own, partner in partner_slices(n, shift) for pair in zip(samples[own], samples[partner], strict=True)
    ]
    assert pairs == [(i, (i + shift) % n) for i in samples]
