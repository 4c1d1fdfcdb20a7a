import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import cutout, cutout_boxes
from tests.functional.kernel_cases import ANY_DTYPE, image_batches, make_images, run_kernel
from tests.traffic import traffic_of


def slow_cutout(images, centers, length, value):
    expected = images.copy()
    for i, holes in enumerate(centers):
        for row, column in np.ndindex(images.shape[-2:]):
            for middle_row, middle_column in holes:
                # ⌊length / 2⌋ pixels lie before the center, the rest begins with it.
                before = length // 2
                if (
                    -before <= row - middle_row < length - before
                    and -before <= column - middle_column < length - before
                ):
                    expected[i, ..., row, column] = value
    return expected


@st.composite
def cases(draw):
    images = draw(image_batches(ANY_DTYPE, min_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    centers = rng.integers((0, 0), images.shape[-2:], size=(len(images), draw(st.integers(1, 3)), 2))
    length = draw(st.integers(1, max(images.shape[-2:]) - 1))
    return images, centers, length, draw(st.sampled_from([0, 1]))


@settings(max_examples=50, deadline=None)
@given(cases(), st.booleans())
def test_agrees_with_a_loop_over_pixels(case, as_array):
    images, centers, length, value = case
    boxes = cutout_boxes(centers, length=length, size=tuple(images.shape[-2:]))
    assert boxes.dtype == np.int64
    given_boxes = boxes if as_array else torch.from_numpy(boxes)
    result = run_kernel(lambda x: cutout(x, boxes=given_boxes, value=value), images)
    np.testing.assert_array_equal(result, slow_cutout(images.double().numpy(), centers, length, value))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8])
def test_a_hole_that_is_not_clipped_has_its_length_squared(length):
    boxes = cutout_boxes([[[8, 10]]], length=length, size=(17, 21))
    assert (cutout(torch.ones(1, 1, 17, 21), boxes=boxes) == 0).sum() == length**2


@pytest.mark.parametrize(("length", "side"), [(0.5, 4), (0.3, 2), (0.01, 1)])
def test_a_float_length_is_a_share_of_the_shorter_side(length, side):
    for size in [(8, 20), (20, 8)]:
        assert cutout_boxes([[[4, 4]]], length=length, size=size)[0, 0, 2:].tolist() == [side, side]


def test_each_image_has_its_own_holes():
    boxes = cutout_boxes([[[1, 1], [5, 9]], [[2, 7], [2, 7]]], length=3, size=(7, 11))
    holes = cutout(torch.ones(2, 1, 7, 11), boxes=boxes) == 0
    assert holes.sum(dim=(1, 2, 3)).tolist() == [18, 9]
    assert not holes[0, 0, 2, 7]


def test_value_for_each_channel():
    filled = cutout(make_images((2, 3, 4, 5)), boxes=np.array([[[1, 1, 2, 2]]] * 2), value=(5.0, 6.0, 7.0))
    assert filled[:, :, 1:3, 1:3].mean(dim=(0, 2, 3)).tolist() == [5.0, 6.0, 7.0]


def test_the_default_fills_with_zero():
    assert cutout(torch.ones(1, 1, 3, 4), boxes=np.array([[0, 0, 3, 4]])).sum() == 0


def test_empty_batch():
    boxes = cutout_boxes(np.zeros((0, 2, 2), np.int64), length=2, size=(4, 5))
    assert cutout(torch.zeros(0, 3, 4, 5), boxes=boxes).shape == (0, 3, 4, 5)


@pytest.mark.parametrize(("length", "size"), [(16, (8, 8)), (8, (8, 8)), (9, (5, 9))])
def test_refuses_a_hole_that_covers_the_whole_image(length, size):
    with pytest.raises(ValueError, match=f"holes of {length}×{length} pixels for images of {size[0]}×{size[1]}"):
        cutout_boxes([[[0, 0]]], length=length, size=size)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "length to be at least 1, but got 0"),
        (-3, "length to be at least 1, but got -3"),
        (0.0, r"a float length to be above 0 and below 1, but got 0\.0"),
        (1.0, r"a float length to be above 0 and below 1, but got 1\.0"),
    ],
)
def test_refuses_a_length_out_of_range(length, message):
    with pytest.raises(ValueError, match=message):
        cutout_boxes([[[0, 0]]], length=length, size=(6, 8))


def test_refuses_a_length_that_is_no_number():
    with pytest.raises(TypeError, match="length to be an integer, but got '3'"):
        cutout_boxes([[[0, 0]]], length="3", size=(6, 8))


@pytest.mark.parametrize("center", [(-1, 0), (6, 0), (0, 8)])
def test_refuses_a_center_outside_the_image(center):
    with pytest.raises(ValueError, match=r"centers to be inside the image of size \(6, 8\), but got"):
        cutout_boxes([[center]], length=3, size=(6, 8))


def test_memory_traffic():
    images = torch.empty(128, 3, 224, 224, device="meta")
    boxes = np.array([[[30, 40, 16, 16]]] * 128)
    assert traffic_of(lambda: cutout(images, boxes=boxes)) <= 2.4 * images.nbytes


def test_memory_traffic_of_large_images_on_the_cpu():
    images = torch.zeros(8, 3, 224, 224)
    boxes = np.array([[[30, 40, 16, 16]]] * 8)
    assert traffic_of(lambda: cutout(images, boxes=boxes)) <= 2.4 * images.nbytes
