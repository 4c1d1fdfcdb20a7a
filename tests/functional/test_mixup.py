import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import mixup
from tests.functional.kernel_cases import FLOATS, constant_images, image_batches, make_images, run_kernel
from tests.traffic import traffic_of


def slow_mixup(images, lams, shift):
    n = len(images)
    expected = np.empty_like(images)
    for i in range(n):
        for pixel in np.ndindex(images.shape[1:]):
            own, partner = images[i][pixel], images[(i + shift) % n][pixel]
            expected[i][pixel] = lams[i] * own + (1 - lams[i]) * partner
    return expected


def assert_close_to_rounding(result, images, expected, dtype):
    # Weight, difference, product and sum are rounded once each, by half an epsilon of |x| + |y| at most.
    largest = 2 * np.abs(images).max(initial=0)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2 * torch.finfo(dtype).eps * largest)


@settings(max_examples=30, deadline=None)
@given(image_batches(FLOATS), st.floats(0, 1), st.integers(-1, 9))
def test_one_lam_agrees_with_a_loop_over_pixels(images, lam, shift):
    result = run_kernel(lambda x: mixup(x, lam=lam, shift=shift), images)
    values = images.double().numpy()
    assert_close_to_rounding(result, values, slow_mixup(values, [lam] * len(images), shift), images.dtype)


@settings(max_examples=30, deadline=None)
@given(image_batches(FLOATS), st.integers(0, 99), st.integers(-1, 9), st.booleans())
def test_one_lam_a_sample_agrees_with_a_loop_over_pixels(images, seed, shift, as_array):
    lams = np.random.default_rng(seed).beta(0.5, 0.5, len(images)).astype(np.float32)
    lam = lams if as_array else torch.from_numpy(lams)
    result = run_kernel(lambda x: mixup(x, lam=lam, shift=shift), images)
    values = images.double().numpy()
    assert_close_to_rounding(result, values, slow_mixup(values, lams.astype(np.float64), shift), images.dtype)


@pytest.mark.parametrize("n", [2, 3, 7, 32])
@pytest.mark.parametrize("per_sample", [False, True])
def test_mean_pixel_is_the_label_weighted_mean_of_the_labels(n, per_sample):
    lam = np.linspace(0.05, 0.9, n) if per_sample else 0.3
    shift = n - 1
    labels = np.arange(n)
    mixed = mixup(constant_images(n), lam=lam, shift=shift)
    expected = lam * labels + (1 - lam) * np.roll(labels, -shift)
    np.testing.assert_allclose(mixed.mean(dim=(1, 2, 3)), expected, rtol=1e-12)
    assert not np.allclose(expected, labels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("lam", [0.7, torch.tensor([0.7, 0.3, 0.7])])
def test_weights_are_not_rounded_to_half_precision(dtype, lam):
    # In bfloat16, 0.3 is 0.30078 and 0.7 is 0.69922; with images 2 apart, the means would be 1.6e-3 off.
    images = make_images((3, 4, 40, 50), dtype=torch.float64)
    images = (images / 4 + torch.tensor([1.5, 3.5, 5.5]).view(3, 1, 1, 1)).to(dtype)
    weights = torch.as_tensor(lam, dtype=torch.float64).expand(3).view(3, 1, 1, 1)
    exact = weights * images.double() + (1 - weights) * images.double().roll(-1, 0)
    error = (mixup(images, lam=lam).double() - exact).mean(dim=(1, 2, 3))
    assert error.abs().max() < 5e-4


@pytest.mark.parametrize("lam", [0, 1])
def test_extreme_weights_give_the_partner_or_the_batch_exactly(lam):
    images = make_images((3, 2, 5, 4))
    assert torch.equal(mixup(images, lam=lam), images if lam else images.roll(-1, 0))


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3, 4, 6)])
def test_targets_of_any_trailing_shape(shape):
    targets = make_images(shape, dtype=torch.float64)
    lam = torch.linspace(0, 1, 5, dtype=torch.float64)
    weights = lam.view(-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(
        mixup(targets, lam=lam, shift=2), weights * targets + (1 - weights) * targets.roll(-2, 0)
    )


@pytest.mark.parametrize(("n", "shift"), [(0, 1), (1, 1), (3, 0), (3, 6)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_gives_the_images_themselves_where_nobody_has_a_partner(n, shift, per_sample):
    images = make_images((n, 3, 4, 5))
    assert mixup(images, lam=torch.full((n,), 0.5) if per_sample else 0.5, shift=shift) is images


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_refuses_integers(dtype):
    with pytest.raises(TypeError, match=f"mixup needs floating-point .* got {dtype}"):
        mixup(torch.zeros(2, 3, 4, 5, dtype=dtype), lam=0.5)


@pytest.mark.parametrize("lam", [-0.1, 1.1, float("nan")])
def test_refuses_a_weight_outside_the_unit_interval(lam):
    with pytest.raises(ValueError, match="mixup needs lam to be at least 0 and at most 1, but got"):
        mixup(torch.zeros(2, 3), lam=lam)


@pytest.mark.parametrize("lam", ["0.5", None, [0.5, 0.5], True])
def test_refuses_a_weight_that_is_no_number(lam):
    with pytest.raises(TypeError, match="mixup needs lam to be a number, but got"):
        mixup(torch.zeros(2, 3), lam=lam)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1)])
def test_refuses_weights_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"one per sample for 3 samples, but got shape \("):
        mixup(torch.zeros(3, 2), lam=torch.ones(shape))


def test_is_not_differentiable():
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        mixup(torch.zeros(2, 3, requires_grad=True), lam=0.5)


@pytest.mark.parametrize(("lam", "limit"), [(0.3, 3.2), (np.linspace(0, 1, 128), 3.3)])
def test_memory_traffic(lam, limit):
    images = torch.empty(128, 3, 224, 224, device="meta")
    assert traffic_of(lambda: mixup(images, lam=lam, shift=5)) <= limit * images.nbytes
