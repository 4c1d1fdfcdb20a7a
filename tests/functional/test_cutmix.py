import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import cutmix, cutmix_box
from tests.functional.kernel_cases import ANY_DTYPE, constant_images, image_batches, make_images, run_kernel
from tests.traffic import traffic_of


def slow_cutmix(images, boxes, shift):
    n, (height, width) = len(images), images.shape[-2:]
    expected = images.copy()
    for i in range(n):
        top, left, box_height, box_width = boxes[i]
        for row in range(height):
            for column in range(width):
                if top <= row < top + box_height and left <= column < left + box_width:
                    expected[i, ..., row, column] = images[(i + shift) % n, ..., row, column]
    return expected


def draw_boxes(n, size, seed):
    rng = np.random.default_rng(seed)
    return cutmix_box(rng.uniform(size=n), center=rng.integers((0, 0), size, size=(n, 2)), size=size)


def slow_box_side(share, middle, extent):
    length = round(extent * share**0.5)
    start = middle - length // 2
    covered = [pixel for pixel in range(start, start + length) if 0 <= pixel < extent]
    return (covered[0], len(covered)) if covered else (start, 0)


@settings(max_examples=30, deadline=None)
@given(image_batches(ANY_DTYPE), st.integers(0, 99), st.integers(-1, 9))
def test_one_box_agrees_with_a_loop_over_pixels(images, seed, shift):
    box = tuple(draw_boxes(1, images.shape[-2:], seed)[0][0].tolist())
    result = run_kernel(lambda x: cutmix(x, box=box, shift=shift), images)
    np.testing.assert_array_equal(result, slow_cutmix(images.double().numpy(), [box] * len(images), shift))


@settings(max_examples=30, deadline=None)
@given(image_batches(ANY_DTYPE), st.integers(0, 99), st.integers(-1, 9), st.booleans())
def test_one_box_an_image_agrees_with_a_loop_over_pixels(images, seed, shift, as_array):
    boxes, _ = draw_boxes(len(images), images.shape[-2:], seed)
    given_boxes = boxes if as_array else torch.from_numpy(boxes)
    result = run_kernel(lambda x: cutmix(x, box=given_boxes, shift=shift), images)
    np.testing.assert_array_equal(result, slow_cutmix(images.double().numpy(), boxes, shift))


@given(st.floats(0, 1), st.integers(0, 30), st.integers(0, 30), st.integers(1, 31), st.integers(1, 31))
def test_box_agrees_with_counting_pixels(share, row, column, height, width):
    row, column = min(row, height - 1), min(column, width - 1)
    box, lam = cutmix_box(share, center=(row, column), size=(height, width))
    top, box_height = slow_box_side(share, row, height)
    left, box_width = slow_box_side(share, column, width)
    assert box.tolist()[2:] == [box_height, box_width]
    if box_height and box_width:
        assert box.tolist()[:2] == [top, left]
    assert float(lam) == 1 - box_height * box_width / (height * width)
    assert box.dtype == np.int64
    assert lam.dtype == np.float64


def test_boxes_of_several_images_are_those_of_each():
    rng = np.random.default_rng(1)
    shares, centers = rng.uniform(size=(4, 3)), rng.integers((0, 0), (9, 14), size=(4, 3, 2))
    boxes, lams = cutmix_box(shares, center=centers, size=(9, 14))
    assert boxes.shape == (4, 3, 4)
    for index in np.ndindex(4, 3):
        box, lam = cutmix_box(shares[index], center=centers[index], size=(9, 14))
        assert boxes[index].tolist() == box.tolist()
        assert lams[index] == lam


def test_box_has_the_aspect_ratio_of_the_image():
    box, lam = cutmix_box(0.25, center=(20, 40), size=(40, 80))
    assert box.tolist() == [10, 20, 20, 40]
    assert float(lam) == 0.75


def test_lam_is_counted_again_where_the_border_clips_the_box():
    box, lam = cutmix_box(0.25, center=(0, 79), size=(40, 80))
    assert box.tolist() == [0, 59, 10, 21]
    assert float(lam) == 1 - 210 / 3200


@pytest.mark.parametrize(("share", "lam"), [(0, 1), (1, 0)])
def test_extreme_shares_take_nothing_or_everything(share, lam):
    box, counted = cutmix_box(share, center=(3, 2), size=(6, 4))
    assert float(counted) == lam
    images = make_images((3, 2, 6, 4))
    assert torch.equal(cutmix(images, box=box), images if lam else images.roll(-1, 0))


@pytest.mark.parametrize("n", [2, 3, 7, 32])
@pytest.mark.parametrize("per_sample", [False, True])
def test_mean_pixel_is_the_label_weighted_mean_of_the_labels(n, per_sample):
    images, labels, shift = constant_images(n), np.arange(n), n - 1
    boxes, lam = draw_boxes(n if per_sample else 1, images.shape[-2:], seed=4)
    mixed = cutmix(images, box=boxes if per_sample else boxes[0], shift=shift)
    expected = lam * labels + (1 - lam) * np.roll(labels, -shift)
    np.testing.assert_allclose(mixed.mean(dim=(1, 2, 3)), expected, rtol=1e-12)
    assert not np.allclose(expected, labels)


def test_copies_infinite_and_missing_values_but_lets_none_out_of_the_box():
    images = torch.stack(
        [torch.zeros(1, 3, 4), torch.full((1, 3, 4), float("nan")), torch.full((1, 3, 4), float("-inf"))]
    )
    mixed = cutmix(images, box=np.array([[1, 1, 1, 2]] * 3))
    assert mixed[0].isnan().sum() == 2
    assert mixed[1].isneginf().sum() == 2
    assert mixed[2].isneginf().sum() == 10


@pytest.mark.parametrize(("n", "shift"), [(0, 1), (1, 1), (3, 0), (3, 6)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_gives_the_images_themselves_where_nobody_has_a_partner(n, shift, per_sample):
    images = make_images((n, 3, 4, 5))
    box = np.zeros((n, 4), np.int64) if per_sample else (0, 0, 1, 1)
    assert cutmix(images, box=box, shift=shift) is images


@pytest.mark.parametrize("box", [(-1, 0, 1, 1), (0, 0, 5, 1), (3, 0, 2, 1), (0, 4, 1, 2), (0, 0, 1, -1)])
def test_refuses_a_box_that_reaches_outside_the_images(box):
    with pytest.raises(ValueError, match=r"cutmix needs box to be inside images of size \(4, 5\), but got \("):
        cutmix(torch.zeros(2, 3, 4, 5), box=box)


def test_refuses_a_box_of_fractions():
    with pytest.raises(TypeError, match="cutmix needs boxes of integers, but got"):
        cutmix(torch.zeros(2, 3, 4, 5), box=(0, 0, 0.5, 1))


def test_refuses_a_box_of_three_numbers():
    with pytest.raises(ValueError, match=r"cutmix needs box to be \(top, .* but got \(0, 0, 1\)"):
        cutmix(torch.zeros(2, 3, 4, 5), box=(0, 0, 1))


@pytest.mark.parametrize("box", [(0, 0, 1, 1), np.zeros((2, 4), np.int64)])
def test_refuses_images_without_height_and_width(box):
    with pytest.raises(ValueError, match=r"cutmix needs images of shape .* but got shape \(2, 3\)"):
        cutmix(torch.zeros(2, 3), box=box)


@pytest.mark.parametrize("share", [-0.1, 1.1, np.array([0.5, np.nan])])
def test_refuses_a_share_outside_the_unit_interval(share):
    with pytest.raises(ValueError, match=r"cutmix_box needs area_share to be in \[0, 1\], but got"):
        cutmix_box(share, center=(0, 0), size=(4, 5))


@pytest.mark.parametrize("center", [(-1, 0), (4, 0), (0, 5)])
def test_refuses_a_center_outside_the_image(center):
    with pytest.raises(ValueError, match=r"cutmix_box needs center to be inside the image of size \(4, 5\), but got"):
        cutmix_box(0.5, center=center, size=(4, 5))


def test_is_not_differentiable_with_one_box_an_image():
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        cutmix(torch.zeros(2, 3, 4, 5, requires_grad=True), box=np.ones((2, 4), np.int64))


def test_memory_traffic():
    images = torch.empty(128, 3, 224, 224, device="meta")
    half = (20, 30, 112, 112)
    assert traffic_of(lambda: cutmix(images, box=half)) <= 2.51 * images.nbytes
    assert traffic_of(lambda: cutmix(images, box=(0, 0, 224, 224))) <= 4 * images.nbytes
    assert traffic_of(lambda: cutmix(images, box=np.array([half] * 128))) <= 4.2 * images.nbytes
