import numpy as np
import pytest
import torch

from lightning_tricks import CutMix
from lightning_tricks.functional import cutmix_box

H, W = 12, 20


def draws(trick, count=2000, n=5):
    rng = np.random.default_rng(0)
    return [trick.draw(rng, torch.zeros(n, 3, H, W)) for _ in range(count)]


@pytest.mark.parametrize("per_sample", [False, True])
def test_boxes_are_clipped_and_lam_counts_their_pixels(per_sample):
    params = draws(CutMix(per_sample=per_sample))
    boxes = np.concatenate([np.atleast_2d(p.box) for p in params])
    lams = np.concatenate([np.atleast_1d(p.weights[0]) for p in params])
    assert len(boxes) == len(lams) == 2000 * (5 if per_sample else 1)
    top, left, height, width = boxes.T
    assert (np.minimum(top, left) >= 0).all()
    assert (top + height <= H).all()
    assert (left + width <= W).all()
    np.testing.assert_array_equal(lams, 1 - height * width / (H * W))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_the_unclipped_share_follows_the_beta_distribution(alpha):
    """Boxes that touch no border were not clipped: their area is that of Beta(α, α) to a pixel a side."""
    trick, rng = CutMix(alpha), np.random.default_rng(0)
    shares = []
    for _ in range(4000):
        top, left, height, width = trick.draw(rng, torch.zeros(2, 1, 400, 300)).box
        if top > 0 and left > 0 and top + height < 400 and left + width < 300:
            shares.append(height * width / (400 * 300))
    reference = np.random.default_rng(1).beta(alpha, alpha, 200_000)
    fits = np.random.default_rng(2).random((200_000, 2)) < (1 - np.sqrt(reference))[:, None]
    expected = reference[fits.all(1)]
    assert np.mean(shares) == pytest.approx(expected.mean(), abs=4 * expected.std() / len(shares) ** 0.5 + 0.002)


@pytest.mark.parametrize("per_sample", [False, True])
def test_the_center_is_uniform_over_the_image(monkeypatch, per_sample):
    centers = []

    def record(share, *, center, size):
        centers.extend(center if per_sample else [center])
        return cutmix_box(share, center=center, size=size)

    monkeypatch.setattr("lightning_tricks.callbacks.cutmix.cutmix_box", record)
    draws(CutMix(per_sample=per_sample), count=2_400 if per_sample else 12_000)
    counts = np.zeros((H, W))
    np.add.at(counts, tuple(np.array(centers).T), 1)
    chi_square = ((counts - 50) ** 2 / 50).sum()
    assert abs(chi_square - (H * W - 1)) < 4 * (2 * (H * W - 1)) ** 0.5


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("n", [2, 3, 7, 32])
def test_the_mean_pixel_is_the_weighted_label(n, per_sample):
    labels = torch.arange(n)
    images = labels.float().view(n, 1, 1, 1).expand(n, 3, H, W)
    touched = 0
    for seed in range(5):
        mixed, target = CutMix(per_sample=per_sample)((images, labels), rng=seed)
        means = sum(weights.double() * part for part, weights in target.components)
        torch.testing.assert_close(mixed.double().mean((1, 2, 3)), means, rtol=1e-6, atol=1e-6)
        touched += bool((mixed != images).any())
    assert touched >= 3


def test_one_box_for_the_batch_or_one_a_sample():
    images, labels = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, H, W), torch.arange(8)
    for per_sample, distinct in ((False, 1), (True, 8)):
        mixed, _ = CutMix(per_sample=per_sample)((images, labels), rng=2)
        assert len({tuple(mask.flatten().tolist()) for mask in mixed != images}) == distinct


def test_integer_images_are_cut():
    images = torch.randint(256, (4, 3, H, W), dtype=torch.uint8)
    mixed, _ = CutMix()((images, torch.arange(4)), rng=0)
    assert mixed.dtype == torch.uint8
    assert not torch.equal(mixed, images)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": -1}, ValueError, "CutMix needs alpha to be at least 0, but got -1"),
        ({"alpha": None}, TypeError, "CutMix needs alpha to be a number, but got None"),
        ({"per_sample": "no"}, TypeError, "CutMix needs per_sample to be True or False, but got 'no'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        CutMix(**arguments)


def test_bad_images():
    with pytest.raises(ValueError, match=r"CutMix needs images of shape \(N, C, H, W\), but got float32\[4, 6, 8\]"):
        CutMix()((torch.zeros(4, 6, 8), torch.arange(4)))
