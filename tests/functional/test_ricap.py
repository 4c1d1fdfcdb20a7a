import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import ricap, ricap_weights
from tests.functional.kernel_cases import ANY_DTYPE, constant_images, image_batches, make_images, run_kernel
from tests.traffic import traffic_of


def slow_ricap(images, boundary, offsets, shifts):
    n, (height, width) = len(images), images.shape[-2:]
    expected = np.empty_like(images)
    for i in range(n):
        for row in range(height):
            for column in range(width):
                below, right = row >= boundary[0], column >= boundary[1]
                patch = 2 * below + right
                source_row = row - below * boundary[0] + offsets[patch][0]
                source_column = column - right * boundary[1] + offsets[patch][1]
                expected[i, ..., row, column] = images[(i + shifts[patch]) % n, ..., source_row, source_column]
    return expected


@st.composite
def cases(draw):
    images = draw(image_batches(ANY_DTYPE))
    height, width = images.shape[-2:]
    row, column = draw(st.integers(0, height)), draw(st.integers(0, width))
    free = [(height - row, width - column), (height - row, column), (row, width - column), (row, column)]
    offsets = [(draw(st.integers(0, down)), draw(st.integers(0, across))) for down, across in free]
    shifts = draw(st.lists(st.integers(0, len(images) - 1), min_size=4, max_size=4))
    return images, {"boundary": (row, column), "offsets": offsets, "shifts": shifts}


@settings(max_examples=50, deadline=None)
@given(cases())
def test_agrees_with_a_loop_over_pixels(case):
    images, parameters = case
    result = run_kernel(lambda x: ricap(x, **parameters), images)
    np.testing.assert_array_equal(result, slow_ricap(images.double().numpy(), *parameters.values()))


@pytest.mark.parametrize("n", [2, 3, 7, 32])
def test_mean_pixel_is_the_label_weighted_mean_of_the_labels(n):
    images, labels, boundary, shifts = constant_images(n, size=(6, 11)), np.arange(n), (2, 7), (0, 1, n - 1, n // 2)
    mixed = ricap(images, boundary=boundary, offsets=[(1, 2), (3, 0), (2, 4), (0, 0)], shifts=shifts)
    weights = ricap_weights(boundary, size=(6, 11))
    expected = sum(weight * np.roll(labels, -shift) for weight, shift in zip(weights, shifts, strict=True))
    np.testing.assert_allclose(mixed.mean(dim=(1, 2, 3)), expected, rtol=1e-12)
    assert not np.allclose(expected, labels)


def test_weights_are_the_areas_in_the_order_of_the_patches():
    assert ricap_weights((2, 7), size=(6, 11)) == pytest.approx([14 / 66, 8 / 66, 28 / 66, 16 / 66], abs=1e-15)


def test_empty_batch():
    images = torch.zeros(0, 3, 4, 5)
    assert ricap(images, boundary=(2, 2), offsets=[(0, 0)] * 4, shifts=(0, 0, 0, 0)).shape == images.shape


def test_refuses_a_crop_that_reaches_outside_its_partner():
    with pytest.raises(
        ValueError, match=r"crops inside images of size \(4, 5\), but got one of size \(3, 2\) at \(2, 0\)"
    ):
        ricap(make_images((2, 1, 4, 5)), boundary=(3, 2), offsets=[(2, 0), (0, 0), (0, 0), (0, 0)], shifts=(0, 1, 0, 1))


@pytest.mark.parametrize(("n_offsets", "n_shifts"), [(3, 4), (4, 5)])
def test_refuses_anything_but_four_patches(n_offsets, n_shifts):
    with pytest.raises(ValueError, match=f"four offsets and four shifts, but got {n_offsets} and {n_shifts}"):
        ricap(make_images((2, 1, 4, 5)), boundary=(3, 2), offsets=[(0, 0)] * n_offsets, shifts=[0] * n_shifts)


def test_refuses_images_without_height_and_width():
    with pytest.raises(ValueError, match=r"ricap needs images of shape .* but got shape \(2, 3\)"):
        ricap(torch.zeros(2, 3), boundary=(0, 0), offsets=[(0, 0)] * 4, shifts=[0] * 4)


def test_refuses_a_boundary_outside_the_image():
    with pytest.raises(
        ValueError, match=r"needs the quadrants to meet inside the image of size \(4, 5\), but got \(5, 4\)"
    ):
        ricap(make_images((2, 1, 4, 5)), boundary=(5, 4), offsets=[(0, 0)] * 4, shifts=[0] * 4)


def test_memory_traffic():
    images = torch.empty(128, 3, 224, 224, device="meta")
    moved = traffic_of(lambda: ricap(images, boundary=(100, 30), offsets=[(0, 0)] * 4, shifts=(0, 5, 9, 100)))
    assert moved <= 2.1 * images.nbytes
