import numpy as np
import pytest
import torch

from lightning_tricks import Mixup


def draws(trick, count=2000, n=5):
    rng = np.random.default_rng(0)
    return [trick.draw(rng, torch.zeros(n, 3, 4, 6)) for _ in range(count)]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("per_sample", [False, True])
def test_lam_follows_the_beta_distribution(alpha, per_sample):
    lam = np.concatenate([np.atleast_1d(params.weights[0]) for params in draws(Mixup(alpha, per_sample=per_sample))])
    assert lam.size == 2000 * (5 if per_sample else 1)
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(lam.mean() - 0.5) < 4 * (variance / lam.size) ** 0.5
    assert lam.var() == pytest.approx(variance, rel=0.1)
    assert ((lam >= 0) & (lam <= 1)).all()


def test_shifts_are_uniform_over_all_partners_but_oneself():
    shifts = np.bincount([params.shifts[1] for params in draws(Mixup())], minlength=5)
    assert shifts[0] == 0
    assert (abs(shifts[1:] - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5).all()


def test_p_is_applied_once():
    active = sum(params.active for params in draws(Mixup(p=0.5)))
    assert abs(active - 1000) < 4 * 500**0.5


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("n", [2, 3, 7, 32])
def test_the_mean_pixel_is_the_weighted_label(n, per_sample):
    labels = torch.arange(n)
    images = labels.float().view(n, 1, 1, 1).expand(n, 3, 5, 7)
    for seed in range(5):
        mixed, target = Mixup(alpha=1.0, per_sample=per_sample)((images, labels), rng=seed)
        means = sum(weights.double() * part for part, weights in target.components)
        torch.testing.assert_close(mixed.double().mean((1, 2, 3)), means, rtol=1e-6, atol=1e-6)
        assert (mixed != images).any()


def test_one_lam_for_the_batch_or_one_a_sample():
    labels = torch.arange(8)
    for per_sample, distinct in ((False, 1), (True, 8)):
        target = Mixup(alpha=1.0, per_sample=per_sample)((torch.rand(8, 3, 4, 6), labels), rng=0)[1]
        assert len(set(target.components[0][1].tolist())) == distinct


def test_class_257_stays_257_under_bf16():
    images, labels = torch.rand(2, 3, 4, 6, dtype=torch.bfloat16), torch.tensor([257, 3])
    mixed, target = Mixup()((images, labels), rng=0)
    assert mixed.dtype == torch.bfloat16
    assert target.components[0][0].tolist() == [257, 3]


def test_inputs_need_not_be_images():
    mixed, _ = Mixup(alpha=1.0)((torch.rand(6, 4), torch.arange(6)), rng=0)
    assert mixed.shape == (6, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": -0.1}, ValueError, "Mixup needs alpha to be at least 0, but got -0.1"),
        ({"alpha": "0.2"}, TypeError, "Mixup needs alpha to be a number, but got '0.2' of type str"),
        ({"alpha": float("nan")}, ValueError, "Mixup needs alpha to be at least 0, but got nan"),
        ({"per_sample": 1}, TypeError, "Mixup needs per_sample to be True or False, but got 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Mixup(**arguments)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            torch.zeros(2, 3, 4, 6, dtype=torch.uint8),
            TypeError,
            r"Mixup needs floating-point images, but got uint8\[2,",
        ),
        (torch.zeros(2), ValueError, r"Mixup needs a batch of inputs of shape \(N, ...\), but got float32\[2\]"),
    ],
)
def test_bad_images(images, error, message):
    with pytest.raises(error, match=message):
        Mixup()((images, torch.zeros(2, dtype=torch.long)))
