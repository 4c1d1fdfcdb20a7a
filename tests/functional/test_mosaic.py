from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import mosaic, mosaic_boxes, mosaic_weights
from tests.functional.kernel_cases import ANY_DTYPE, FLOATS, constant_images, image_batches, run_kernel
from tests.traffic import traffic_of


def slow_filter(old, new):
    """The weight of each old pixel in each new one: a triangle as wide as two new pixels, around the new middle."""
    weights = np.zeros((new, old))
    for i in range(new):
        middle = (i + 0.5) * old / new
        for j in range(old):
            weights[i, j] = max(0.0, 1 - abs(j + 0.5 - middle) * new / old)
        weights[i] /= weights[i].sum()
    return weights


def slow_nearest(old, new):
    weights = np.zeros((new, old))
    for i in range(new):
        weights[i, floor((i + Fraction(1, 2)) * Fraction(old, new))] = 1
    return weights


def slow_mosaic(images, center, shifts, filter_of):
    n, (height, width) = len(images), images.shape[-2:]
    expected = np.empty_like(images)
    for quadrant, shift in enumerate(shifts):
        rows = slice(0, center[0]) if quadrant < 2 else slice(center[0], height)
        columns = slice(0, center[1]) if quadrant % 2 == 0 else slice(center[1], width)
        down = filter_of(height, rows.stop - rows.start)
        across = filter_of(width, columns.stop - columns.start)
        for i in range(n):
            expected[i, ..., rows, columns] = down @ images[(i + shift) % n] @ across.T
    return expected


@st.composite
def cases(draw, dtypes):
    images = draw(image_batches(dtypes))
    center = draw(st.integers(0, images.shape[-2])), draw(st.integers(0, images.shape[-1]))
    return images, center, draw(st.lists(st.integers(0, len(images) - 1), min_size=4, max_size=4))


@settings(max_examples=30, deadline=None)
@given(cases(ANY_DTYPE))
def test_nearest_agrees_with_a_loop_over_pixels(case):
    images, center, shifts = case
    result = run_kernel(lambda x: mosaic(x, center=center, shifts=shifts, interpolation="nearest"), images)
    np.testing.assert_array_equal(result, slow_mosaic(images.double().numpy(), center, shifts, slow_nearest))


@settings(max_examples=40, deadline=None)
@given(cases((*FLOATS, torch.uint8)))
def test_bilinear_agrees_with_a_loop_over_pixels(case):
    images, center, shifts = case
    result = run_kernel(lambda x: mosaic(x, center=center, shifts=shifts), images)
    expected = slow_mosaic(images.double().numpy(), center, shifts, slow_filter)
    if images.dtype == torch.uint8:
        # Rounded to the nearest integer; float32 may decide a half either way.
        np.testing.assert_allclose(result, expected, rtol=0, atol=0.5 + 1e-4)
    else:
        # Two sums over at most 15 pixels of size 2 in float32, or the one rounding of a narrower result.
        eps = max(16 * torch.finfo(torch.float32).eps, torch.finfo(images.dtype).eps)
        np.testing.assert_allclose(result, expected, rtol=0, atol=2 * eps)


@pytest.mark.parametrize("n", [2, 3, 7, 32])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_mean_pixel_is_the_label_weighted_mean_of_the_labels(n, interpolation):
    images, labels, center, shifts = constant_images(n, size=(6, 11)), np.arange(n), (2, 7), (0, 1, n - 1, n // 2)
    mixed = mosaic(images, center=center, shifts=shifts, interpolation=interpolation)
    weights = mosaic_weights(center, size=(6, 11))
    expected = sum(weight * np.roll(labels, -shift) for weight, shift in zip(weights, shifts, strict=True))
    np.testing.assert_allclose(mixed.mean(dim=(1, 2, 3)), expected, rtol=1e-12)
    assert not np.allclose(expected, labels)


def test_weights_are_the_areas_in_the_order_of_the_quadrants():
    assert mosaic_weights((2, 7), size=(6, 11)) == pytest.approx([14 / 66, 8 / 66, 28 / 66, 16 / 66], abs=1e-15)


def test_shows_each_partner_whole():
    images = torch.zeros(4, 1, 8, 12, dtype=torch.float64)
    for i, corner in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)]):
        images[i, 0][corner] = 1.0
    mixed = mosaic(images, center=(4, 6), shifts=(0, 1, 2, 3))
    for corner in [(0, 0), (0, -1), (-1, 0), (-1, -1)]:
        assert mixed[0, 0][corner] > 0.1
    assert mixed[0, 0, 2:6].sum() == 0


def test_empty_batch():
    images = torch.zeros(0, 3, 4, 5)
    assert mosaic(images, center=(2, 2), shifts=(0, 0, 0, 0)).shape == images.shape


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_refuses_to_interpolate_labels(dtype):
    with pytest.raises(TypeError, match=f"uint8 images for interpolation='bilinear', but got {dtype}"):
        mosaic(torch.zeros(2, 4, 5, dtype=dtype), center=(2, 2), shifts=(0, 1, 0, 1))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"shifts": (0, 1, 0)}, "mosaic needs four shifts, but got 3"),
        ({"interpolation": "bicubic"}, "mosaic needs interpolation to be one of .* but got 'bicubic'"),
        ({"center": (5, 4)}, r"mosaic needs the quadrants to meet inside the image of size \(4, 5\), but got \(5, 4\)"),
    ],
)
def test_refuses_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        mosaic(torch.zeros(2, 3, 4, 5), **({"center": (2, 2), "shifts": (0, 1, 0, 1)} | parameters))


def test_refuses_an_interpolation_of_another_type():
    with pytest.raises(TypeError, match="interpolation to be one of 'bilinear', 'nearest', but got None"):
        mosaic(torch.zeros(2, 3, 4, 5), center=(2, 2), shifts=(0, 1, 0, 1), interpolation=None)


def test_refuses_images_without_height_and_width():
    with pytest.raises(ValueError, match=r"mosaic needs images of shape .* but got shape \(2, 3\)"):
        mosaic(torch.zeros(2, 3), center=(0, 0), shifts=(0, 0, 0, 0))


BOXES = torch.tensor([[0.0, 0.0, 20.0, 10.0], [4.0, 2.0, 10.0, 8.0], [19.0, 9.0, 20.0, 10.0]])


@pytest.mark.parametrize("quadrant", [0, 1, 2, 3])
@pytest.mark.parametrize("min_box_size", [0.0, 1.0, 2.0, 4.0])
def test_boxes_are_scaled_and_shifted_with_their_image(quadrant, min_box_size):
    moved, kept = mosaic_boxes(BOXES, quadrant=quadrant, center=(4, 15), size=(10, 20), min_box_size=min_box_size)
    top, height = (0, 4) if quadrant < 2 else (4, 6)
    left, width = (0, 15) if quadrant % 2 == 0 else (15, 5)
    expected, expected_kept = [], []
    for x1, y1, x2, y2 in BOXES.tolist():
        corners = [left + x1 * width / 20, top + y1 * height / 10, left + x2 * width / 20, top + y2 * height / 10]
        expected_kept.append(corners[2] - corners[0] >= min_box_size and corners[3] - corners[1] >= min_box_size)
        if expected_kept[-1]:
            expected.append(corners)
    assert kept.tolist() == expected_kept
    torch.testing.assert_close(moved, torch.tensor(expected).view(-1, 4))
    assert moved.dtype == BOXES.dtype


def test_boxes_follow_the_pixels():
    images = torch.zeros(2, 1, 12, 20, dtype=torch.float64)
    images[1, 0, 4:8, 8:16] = 1.0
    mixed = mosaic(images, center=(6, 5), shifts=(0, 1, 0, 0), interpolation="nearest")
    boxes, _ = mosaic_boxes(torch.tensor([[8.0, 4.0, 16.0, 8.0]]), quadrant=1, center=(6, 5), size=(12, 20))
    left, top, right, bottom = boxes[0].tolist()
    inside = mixed[0, 0, round(top) : round(bottom), round(left) : round(right)]
    assert inside.all()
    assert inside.sum() == mixed[0].sum()


def test_no_box_at_all_is_legal():
    moved, kept = mosaic_boxes(torch.zeros(0, 4), quadrant=3, center=(4, 15), size=(10, 20))
    assert (moved.shape, kept.shape) == ((0, 4), (0,))


def test_boxes_in_an_empty_quadrant_are_dropped():
    assert not mosaic_boxes(BOXES, quadrant=0, center=(0, 15), size=(10, 20))[1].any()


def test_refuses_boxes_of_integers():
    with pytest.raises(TypeError, match=r"mosaic_boxes needs floating-point boxes, but got torch\.int64"):
        mosaic_boxes(BOXES.long(), quadrant=0, center=(4, 15), size=(10, 20))


@pytest.mark.parametrize(
    ("boxes", "quadrant", "message"),
    [
        (BOXES[0], 0, r"boxes of shape \(M, 4\), but got shape \(4,\)"),
        (BOXES[:, :3], 0, r"boxes of shape \(M, 4\), but got shape \(3, 3\)"),
        (BOXES, 4, "quadrant to be 0, 1, 2 or 3, but got 4"),
        (BOXES, -1, "quadrant to be 0, 1, 2 or 3, but got -1"),
    ],
)
def test_refuses_bad_boxes_and_quadrants(boxes, quadrant, message):
    with pytest.raises(ValueError, match=message):
        mosaic_boxes(boxes, quadrant=quadrant, center=(4, 15), size=(10, 20))


def test_memory_traffic():
    images = torch.empty(128, 3, 224, 224, device="meta")
    # Each of four reductions reads the whole batch; what they make is written, read and written again.
    moved = traffic_of(lambda: mosaic(images, center=(100, 30), shifts=(0, 5, 9, 100)))
    assert moved <= 7.1 * images.nbytes
