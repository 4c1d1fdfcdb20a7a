import numpy as np
import pytest
import torch

from lightning_tricks import RICAP

N, H, W = 5, 12, 20


def draws(trick, count=3000, n=N):
    rng = np.random.default_rng(0)
    return [trick.draw(rng, torch.zeros(n, 3, H, W)) for _ in range(count)]


@pytest.mark.parametrize("beta", [0.3, 1.0, 3.0])
def test_the_boundary_follows_the_beta_distribution(beta):
    rows, columns = np.array([params.boundary for params in draws(RICAP(beta))]).T
    reference = np.random.default_rng(1)
    for drawn, side in ((rows, H), (columns, W)):
        expected = np.rint(side * reference.beta(beta, beta, 200_000))
        limit = 4 * expected.std() / len(drawn) ** 0.5
        assert abs(drawn.mean() - expected.mean()) < limit
        assert drawn.std() == pytest.approx(expected.std(), rel=0.06)
        assert drawn.min() >= 0
        assert drawn.max() <= side
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 4 / len(rows) ** 0.5


def test_crops_lie_anywhere_in_their_partner():
    offsets = {}
    for params in draws(RICAP(beta=2.0), count=20_000):
        if params.boundary == (6, 10):
            for quadrant, offset in enumerate(params.offsets):
                offsets.setdefault(quadrant, set()).update({("top", offset[0]), ("left", offset[1])})
    everywhere = {("top", i) for i in range(H - 6 + 1)} | {("left", i) for i in range(W - 10 + 1)}
    assert all(offsets[quadrant] == everywhere for quadrant in range(4))


def test_the_four_partners_are_drawn_independently_and_may_be_the_sample_itself():
    partners = np.array([params.shifts for params in draws(RICAP())])
    for column in partners.T:
        assert (abs(np.bincount(column, minlength=N) - 600) < 4 * (3000 * 0.2 * 0.8) ** 0.5).all()
    assert abs(np.corrcoef(partners.T) - np.eye(4)).max() < 0.1


def test_two_samples_are_mixed():
    images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, H, W)
    assert any((RICAP(beta=1.0)((images, torch.arange(2)), rng=seed)[0] != images).any() for seed in range(3))


def test_weights_are_the_areas():
    for params in draws(RICAP(), count=50):
        (h, w), area = params.boundary, H * W
        assert params.weights == pytest.approx(
            [h * w / area, h * (W - w) / area, (H - h) * w / area, (H - h) * (W - w) / area]
        )


@pytest.mark.parametrize(("beta", "error"), [(0, ValueError), (-1.0, ValueError), ("0.3", TypeError)])
def test_bad_arguments(beta, error):
    with pytest.raises(error, match=r"RICAP needs beta to be (above 0|a number), but got"):
        RICAP(beta)
