import numpy as np
import pytest
import torch

from lightning_tricks.functional._boxes import box_mask

IMAGES = torch.zeros(2, 3, 4, 6)


def test_marks_the_pixels_of_all_boxes_of_an_image():
    boxes = np.array([[[1, 2, 2, 3], [0, 0, 1, 1]], [[3, 5, 4, 4], [2, 2, 0, 3]]])
    expected = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    expected[0, 0, 1:3, 2:5] = True
    expected[0, 0, 0, 0] = True
    expected[1, 0, 3, 5] = True
    assert torch.equal(box_mask(boxes, images=IMAGES, trick="cutout"), expected)
    assert torch.equal(box_mask(boxes[:, 0], images=IMAGES, trick="cutout")[1], expected[1])
    assert not box_mask(boxes[:, :0], images=IMAGES, trick="cutout").any()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("as_array", [True, False])
def test_boxes_of_few_bits_reach_as_far_as_others(dtype, as_array):
    """The box ends at column 254 or 500, which is more than an int8 or a uint8 holds."""
    left = 127 if dtype == "int8" else 250
    images = torch.zeros(1, 1, 2, 600)
    boxes = np.array([[0, left, 2, left]])
    expected = box_mask(boxes, images=images, trick="cutout")
    assert expected.sum() == 2 * left
    few_bits = boxes.astype(dtype)
    assert torch.equal(
        box_mask(few_bits if as_array else torch.from_numpy(few_bits), images=images, trick="cutout"), expected
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_refuses_boxes_that_are_not_integers(dtype):
    with pytest.raises(TypeError, match=f"cutout needs boxes of integers, but got {dtype}"):
        box_mask(torch.zeros(2, 4, dtype=dtype), images=IMAGES, trick="cutout")


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3), (2, 1, 1, 4)])
def test_refuses_boxes_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"cutmix needs one box .* for 2 images, but got boxes of shape \("):
        box_mask(torch.zeros(shape, dtype=torch.int64), images=IMAGES, trick="cutmix")


def test_refuses_images_without_height_and_width():
    with pytest.raises(ValueError, match=r"cutmix needs images of shape .* but got shape \(2, 3\)"):
        box_mask(torch.zeros(2, 4, dtype=torch.int64), images=torch.zeros(2, 3), trick="cutmix")
