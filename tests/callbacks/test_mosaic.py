import numpy as np
import pytest
import torch

from lightning_tricks import Mosaic
from lightning_tricks.callbacks.mosaic import MosaicParams

N, H, W = 5, 12, 20


@pytest.mark.parametrize("center_range", [(0.25, 0.75), (0.4, 0.6), (0.5, 0.5), (0.0, 1.0)])
def test_the_center_is_uniform_in_its_range(center_range):
    rng, trick = np.random.default_rng(0), Mosaic(center_range)
    low, high = center_range
    centers = np.array([trick.draw(rng, torch.zeros(2, 1, 400, 200)).center for _ in range(2000)]) / [400, 200]
    assert centers.min() >= low - 0.003
    assert centers.max() <= high + 0.003
    np.testing.assert_allclose(centers.mean(0), (low + high) / 2, atol=4 * (high - low) / (12 * 2000) ** 0.5 + 1e-9)
    np.testing.assert_allclose(centers.std(0), (high - low) / 12**0.5, atol=0.01)
    if low < high:
        assert abs(np.corrcoef(centers.T)[0, 1]) < 4 / 2000**0.5


def test_the_four_partners_are_drawn_independently_and_may_be_the_sample_itself():
    rng = np.random.default_rng(0)
    partners = np.array([Mosaic().draw(rng, torch.zeros(N, 3, H, W)).shifts for _ in range(3000)])
    for column in partners.T:
        assert (abs(np.bincount(column, minlength=N) - 600) < 4 * (3000 * 0.2 * 0.8) ** 0.5).all()
    assert abs(np.corrcoef(partners.T) - np.eye(4)).max() < 0.1


def test_each_quadrant_shows_a_whole_partner():
    """A marked corner of the partner appears in the same corner of the quadrant."""
    images = torch.zeros(4, 1, 8, 12)
    images[:, :, :4, :6] = torch.arange(1.0, 5.0).view(4, 1, 1, 1)
    params = MosaicParams(active=True, size=(8, 12), center=(4, 6), shifts=(0, 1, 2, 3), weights=(0.25,) * 4)
    mixed = Mosaic().mix_images(params, images)[0, 0]
    assert [mixed[0, 0], mixed[0, 6], mixed[4, 0], mixed[4, 6]] == [1, 2, 3, 4]
    assert [mixed[3, 5], mixed[3, 11], mixed[7, 5], mixed[7, 11]] == [0, 0, 0, 0]


def test_masks_are_resized_by_nearest_neighbour():
    masks = torch.randint(7, (N, H, W))
    mixed = Mosaic()((torch.rand(N, 3, H, W), masks), rng=0)[1]
    assert mixed.dtype == torch.int64
    assert set(mixed.unique().tolist()) <= set(masks.unique().tolist())
    assert not torch.equal(mixed, masks)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"center_range": 0.5}, TypeError, "Mosaic needs center_range to be a pair of numbers, but got 0.5"),
        ({"center_range": (0.7, 0.3)}, ValueError, r"Mosaic needs center_range\[1\] to be at least 0.7 and at most 1"),
        ({"center_range": (-0.1, 0.5)}, ValueError, r"Mosaic needs center_range\[0\] to be at least 0"),
        ({"min_box_size": -1}, ValueError, "Mosaic needs min_box_size to be at least 0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Mosaic(**arguments)
