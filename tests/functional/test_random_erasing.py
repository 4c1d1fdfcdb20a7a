import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import random_erasing, random_erasing_boxes
from tests.functional.kernel_cases import ANY_DTYPE, image_batches, make_images, run_kernel
from tests.traffic import traffic_of

N, SIZE = 4000, (64, 48)


def boxes_of(seed=0, n=N, size=SIZE, **parameters):
    return random_erasing_boxes(np.random.default_rng(seed), n=n, size=size, **parameters)


def slow_erasing(images, boxes, value_at):
    expected = images.copy()
    for i, (top, left, height, width) in enumerate(boxes):
        for row in range(top, top + height):
            for column in range(left, left + width):
                expected[i, ..., row, column] = value_at(i, row, column)
    return expected


@settings(max_examples=50, deadline=None)
@given(image_batches(ANY_DTYPE), st.integers(0, 99), st.sampled_from(["number", "channels", "noise"]))
def test_agrees_with_a_loop_over_pixels(images, seed, kind):
    boxes = boxes_of(seed, len(images), tuple(images.shape[-2:]))
    if kind == "number" or (kind == "channels" and images.ndim == 3):
        value, value_at = 1, lambda i, row, column: 1
    elif kind == "channels":
        value = [channel % 2 for channel in range(images.shape[1])]
        value_at = lambda i, row, column: np.reshape(value, (-1, *[1] * (images.ndim - 4)))  # noqa: E731
    else:
        value = make_images(images.shape, dtype=images.dtype, seed=1)
        value_at = lambda i, row, column: value[i, ..., row, column].double().numpy()  # noqa: E731
    result = run_kernel(lambda x: random_erasing(x, boxes=boxes, value=value), images)
    np.testing.assert_array_equal(result, slow_erasing(images.double().numpy(), boxes, value_at))


def test_noise_may_be_shared_by_the_images():
    noise = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    erased = random_erasing(torch.zeros(2, 3, 4, 5), boxes=np.array([[0, 0, 4, 5], [0, 0, 0, 0]]), value=noise)
    assert torch.equal(erased[0], noise[0])
    assert not erased[1].any()


def test_the_default_fills_with_zero():
    assert random_erasing(torch.ones(1, 1, 3, 4), boxes=np.array([[0, 0, 3, 4]])).sum() == 0


def test_boxes_lie_inside_the_image():
    for size in [(64, 48), (5, 9), (1, 3)]:
        boxes = boxes_of(size=size, scale=(0.02, 1.0))
        assert boxes.dtype == np.int64
        assert (boxes >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= size).all()


def test_areas_are_uniform_in_the_scale():
    boxes = boxes_of(scale=(0.1, 0.2), ratio=(0.5, 2.0))
    share = boxes[:, 2] * boxes[:, 3] / (64 * 48)
    # Whole pixels move a share by up to half a pixel a side; 0.1 / √12 is the standard deviation of the uniform draw.
    assert abs(share.mean() - 0.15) < 3 * 0.1 / np.sqrt(12 * N) + 1e-3
    quarters = np.histogram(share, bins=[0, 0.125, 0.15, 0.175, 1])[0]
    assert np.abs(quarters - N / 4).max() < 4 * np.sqrt(N * 3 / 16)
    half_sides = (boxes[:, 2] + boxes[:, 3] + 1) / 2 / (64 * 48)
    assert (share > 0.1 - half_sides).all()
    assert (share < 0.2 + half_sides).all()


def test_the_ratio_is_height_by_width_and_uniform_in_its_logarithm():
    boxes = boxes_of(scale=(0.1, 0.2), ratio=(0.5, 2.0))
    ratio = boxes[:, 2] / boxes[:, 3]
    assert abs(np.log(ratio).mean()) < 3 * np.log(4) / np.sqrt(12 * N) + 2e-3
    assert abs((ratio > 1).mean() - 0.5) < 0.04
    tall = boxes_of(scale=(0.1, 0.1), ratio=(2.0, 2.0))
    np.testing.assert_array_equal(
        tall[:, 2:], [[round((0.1 * 64 * 48 * 2) ** 0.5), round((0.1 * 64 * 48 / 2) ** 0.5)]] * N
    )


def test_the_ratio_may_be_uniform_itself():
    boxes = boxes_of(scale=(0.1, 0.2), ratio=(0.5, 2.0), ratio_sampling="uniform")
    ratio = boxes[:, 2] / boxes[:, 3]
    assert abs(ratio.mean() - 1.25) < 3 * 1.5 / np.sqrt(12 * N) + 5e-3
    assert abs((ratio > 1).mean() - 2 / 3) < 0.04


def test_positions_are_uniform_and_reach_every_border():
    boxes = boxes_of(scale=(0.1, 0.1), ratio=(1.0, 1.0))
    for axis, extent in enumerate(SIZE):
        places = extent - boxes[0, 2 + axis] + 1
        counts = np.bincount(boxes[:, axis], minlength=places)
        assert len(counts) == places
        assert np.abs(counts - N / places).max() < 4.5 * np.sqrt(N / places)


def test_a_box_without_area_where_none_fits():
    assert not boxes_of(scale=(1.0, 1.0), ratio=(4.0, 4.0))[:, 2:].any()
    assert not boxes_of(size=(2, 3), scale=(0.01, 0.01), ratio=(1.0, 1.0))[:, 2:].any()


@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.5, 1.0), (1.0, 1.0)), ((0.7, 0.7), (0.3, 1 / 0.3))], ids=["area varies", "ratio varies"]
)
def test_area_and_ratio_are_drawn_anew_until_they_fit(scale, ratio):
    missed = {
        attempts: (boxes_of(scale=scale, ratio=ratio, attempts=attempts)[:, 2] == 0).mean() for attempts in (1, 2, 10)
    }
    assert 0.3 < missed[1] < 0.9
    assert abs(missed[2] - missed[1] ** 2) < 0.04
    assert abs(missed[10] - missed[1] ** 10) < 0.04


def test_an_attempt_of_less_than_a_pixel_is_repeated():
    # A share under 0.0104 rounds to nothing: one attempt in ten, and ten in a row never.
    shares = {"size": (4, 6), "scale": (0.0, 0.1), "ratio": (1.0, 1.0)}
    assert 0.08 < (boxes_of(attempts=1, **shares)[:, 2] == 0).mean() < 0.13
    assert boxes_of(**shares)[:, 2:].all()


def test_the_generator_advances_by_the_same_amount_whatever_fits():
    states = []
    for size, scale in [((64, 48), (0.1, 0.2)), ((5, 3), (1.0, 1.0))]:
        rng = np.random.default_rng(3)
        random_erasing_boxes(rng, n=5, size=size, scale=scale)
        states.append(rng.random())
    assert states[0] == states[1]


def test_defaults_are_those_documented():
    documented = {"scale": (0.02, 0.4), "ratio": (0.3, 1 / 0.3), "ratio_sampling": "log", "attempts": 10}
    np.testing.assert_array_equal(boxes_of(), boxes_of(**documented))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scale": (-0.1, 0.4)}, r"scale to be two increasing numbers in \[0, 1\], but got \(-0.1, 0.4\)"),
        ({"scale": (0.4, 0.2)}, "scale to be two increasing"),
        ({"scale": (0.4, 1.2)}, "scale to be two increasing"),
        ({"ratio": (0.0, 1.0)}, r"ratio to be two increasing numbers above 0, but got \(0.0, 1.0\)"),
        ({"ratio": (2.0, 1.0)}, "ratio to be two increasing numbers above 0"),
        ({"ratio_sampling": "linear"}, "ratio_sampling to be one of 'log', 'uniform', but got 'linear'"),
        ({"attempts": 0}, "attempts to be at least 1, but got 0"),
    ],
)
def test_refuses_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        boxes_of(n=1, **parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"attempts": 1.5}, r"attempts to be an integer, but got 1\.5"),
        ({"ratio_sampling": 1}, "ratio_sampling to be one of 'log', 'uniform', but got 1"),
    ],
)
def test_refuses_parameters_of_another_type(parameters, message):
    with pytest.raises(TypeError, match=message):
        boxes_of(n=1, **parameters)


def test_memory_traffic():
    images = torch.empty(128, 3, 224, 224, device="meta")
    boxes = boxes_of(n=128, size=(224, 224))
    assert traffic_of(lambda: random_erasing(images, boxes=boxes, value=(0.1, 0.2, 0.3))) <= 2.4 * images.nbytes


def test_memory_traffic_of_large_images_on_the_cpu():
    images = torch.zeros(16, 3, 224, 224)
    boxes = boxes_of(n=16, size=(224, 224))
    assert boxes[:, 2:].all()
    assert traffic_of(lambda: random_erasing(images, boxes=boxes, value=(0.1, 0.2, 0.3))) <= 2.4 * images.nbytes
