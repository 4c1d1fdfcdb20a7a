import numpy as np
import pytest
import torch

from lightning_tricks.functional._boxes import box_mask, erase

BOXES = np.array([[1, 1, 2, 2]] * 2)
IMAGES = torch.zeros(2, 3, 4, 6)


def test_marks_the_pixels_of_all_boxes_of_an_image():
    boxes = np.array([[[1, 2, 2, 3], [0, 0, 1, 1]], [[3, 5, 4, 4], [2, 2, 0, 3]]])
    expected = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    expected[0, 0, 1:3, 2:5] = True
    expected[0, 0, 0, 0] = True
    expected[1, 0, 3, 5] = True
    assert torch.equal(box_mask(boxes, images=IMAGES, owner="cutout"), expected)
    assert torch.equal(box_mask(boxes[:, 0], images=IMAGES, owner="cutout")[1], expected[1])
    assert not box_mask(boxes[:, :0], images=IMAGES, owner="cutout").any()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("as_array", [True, False])
def test_boxes_of_few_bits_reach_as_far_as_others(dtype, as_array):
    """The box ends at column 254 or 500, which is more than an int8 or a uint8 holds."""
    left = 127 if dtype == "int8" else 250
    images = torch.zeros(1, 1, 2, 600)
    boxes = np.array([[0, left, 2, left]])
    expected = box_mask(boxes, images=images, owner="cutout")
    assert expected.sum() == 2 * left
    few_bits = boxes.astype(dtype)
    assert torch.equal(
        box_mask(few_bits if as_array else torch.from_numpy(few_bits), images=images, owner="cutout"), expected
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_refuses_boxes_that_are_not_integers(dtype):
    with pytest.raises(TypeError, match=f"cutout needs boxes of integers, but got {dtype}"):
        box_mask(torch.zeros(2, 4, dtype=dtype), images=IMAGES, owner="cutout")


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3), (2, 1, 1, 4)])
def test_refuses_boxes_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"cutmix needs one box .* for 2 images, but got boxes of shape \("):
        box_mask(torch.zeros(shape, dtype=torch.int64), images=IMAGES, owner="cutmix")


def test_refuses_images_without_height_and_width():
    with pytest.raises(ValueError, match=r"cutmix needs images of shape .* but got shape \(2, 3\)"):
        box_mask(torch.zeros(2, 4, dtype=torch.int64), images=torch.zeros(2, 3), owner="cutmix")


@pytest.mark.parametrize("value", [(1.0, 2.0), [1.0, 2.0, 3.0, 4.0]])
def test_refuses_values_that_are_not_one_a_channel(value):
    with pytest.raises(
        ValueError, match=rf"cutout needs one value per channel, but got {len(value)} for .* \(2, 3, 4, 5\)"
    ):
        erase(torch.zeros(2, 3, 4, 5), boxes=BOXES, value=value, owner="cutout")


def test_refuses_values_for_channels_of_a_mask():
    with pytest.raises(ValueError, match="one value per channel, but got 4 for"):
        erase(torch.zeros(2, 4, 5), boxes=BOXES, value=[1.0] * 4, owner="cutout")


@pytest.mark.parametrize(
    ("dtype", "value", "limits"),
    [
        (torch.uint8, 0.5, "0..255"),
        (torch.uint8, 256, "0..255"),
        (torch.uint8, float("nan"), "0..255"),
        (torch.uint8, (0, 0, -1), "0..255"),
        (torch.bool, 2, "0..1"),
    ],
)
def test_refuses_a_number_that_does_not_fit_integer_images(dtype, value, limits):
    with pytest.raises(ValueError, match=rf"random_erasing needs whole numbers in {limits} for {dtype}, but got"):
        erase(torch.zeros(2, 3, 4, 5, dtype=dtype), boxes=BOXES, value=value, owner="random_erasing")


@pytest.mark.parametrize("value", [1e5, -1e5, (0.0, 1e5, 0.0)])
def test_refuses_a_number_that_does_not_fit_floating_point_images(value):
    with pytest.raises(ValueError, match=r"cutout needs numbers up to 65504 for torch.float16, but got"):
        erase(torch.zeros(2, 3, 4, 5, dtype=torch.float16), boxes=BOXES, value=value, owner="cutout")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float16])
def test_erases_images_of_any_dtype_also_with_infinity(dtype):
    erased = erase(torch.zeros(2, 3, 4, 5, dtype=dtype), boxes=BOXES, value=float("inf"), owner="cutout")
    assert (erased == float("inf")).sum() == 2 * 3 * 4


def test_refuses_noise_that_would_lose_its_fraction():
    with pytest.raises(TypeError, match=r"cutout needs values that torch.uint8 images can hold, but got torch.float32"):
        erase(torch.zeros(2, 3, 4, 5, dtype=torch.uint8), boxes=BOXES, value=torch.randn(3, 4, 5), owner="cutout")


@pytest.mark.parametrize("shape", [(3, 4, 6), (7, 2, 3, 4, 5)])
def test_refuses_noise_of_another_shape(shape):
    with pytest.raises(RuntimeError, match="expand"):
        erase(torch.zeros(2, 3, 4, 5), boxes=BOXES, value=torch.zeros(shape), owner="cutout")


@pytest.mark.parametrize("size", [(4, 5), (200, 150)])
def test_is_not_differentiable(size):
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        erase(torch.zeros(2, 3, *size, requires_grad=True), boxes=BOXES, value=0.0, owner="cutout")


@pytest.mark.parametrize("value", [2.0, (1.0, 2.0, 3.0), "noise"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_large_images_on_the_cpu_are_erased_one_by_one_with_the_same_result(monkeypatch, value, memory_format):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 90, 100, generator=generator).contiguous(memory_format=memory_format)
    boxes = torch.randint(-20, 80, (3, 4, 4), generator=generator)
    boxes[..., 2:].clamp_(min=0)
    value = torch.rand(images.shape, generator=generator) if value == "noise" else value
    one_by_one = erase(images, boxes=boxes, value=value, owner="cutout")
    monkeypatch.setattr("lightning_tricks.functional._boxes._LARGE_IMAGE", 2**30)
    by_mask = erase(images, boxes=boxes, value=value, owner="cutout")
    expected = images.clone()
    for i, row, column in np.ndindex(3, 90, 100):
        for top, left, height, width in boxes[i].tolist():
            if top <= row < top + height and left <= column < left + width:
                noise = value[i, :, row, column] if isinstance(value, torch.Tensor) else torch.tensor(value)
                expected[i, :, row, column] = noise
    assert torch.equal(one_by_one, expected)
    assert torch.equal(by_mask, expected)
    assert one_by_one.is_contiguous(memory_format=memory_format)
