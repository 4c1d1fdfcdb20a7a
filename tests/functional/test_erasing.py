import numpy as np
import pytest
import torch

from lightning_tricks.functional.erasing import erase

BOXES = np.array([[1, 1, 2, 2]] * 2)


@pytest.mark.parametrize("value", [(1.0, 2.0), [1.0, 2.0, 3.0, 4.0]])
def test_refuses_values_that_are_not_one_a_channel(value):
    with pytest.raises(
        ValueError, match=rf"cutout needs one value a channel, but got {len(value)} for .* \(2, 3, 4, 5\)"
    ):
        erase(torch.zeros(2, 3, 4, 5), boxes=BOXES, value=value, trick="cutout")


def test_refuses_values_for_channels_of_a_mask():
    with pytest.raises(ValueError, match="one value a channel, but got 4 for"):
        erase(torch.zeros(2, 4, 5), boxes=BOXES, value=[1.0] * 4, trick="cutout")


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
        erase(torch.zeros(2, 3, 4, 5, dtype=dtype), boxes=BOXES, value=value, trick="random_erasing")


@pytest.mark.parametrize("value", [1e5, -1e5, (0.0, 1e5, 0.0)])
def test_refuses_a_number_that_does_not_fit_floating_point_images(value):
    with pytest.raises(ValueError, match=r"cutout needs numbers up to 65504 for torch.float16, but got"):
        erase(torch.zeros(2, 3, 4, 5, dtype=torch.float16), boxes=BOXES, value=value, trick="cutout")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float16])
def test_erases_images_of_any_dtype_also_with_infinity(dtype):
    erased = erase(torch.zeros(2, 3, 4, 5, dtype=dtype), boxes=BOXES, value=float("inf"), trick="cutout")
    assert (erased == float("inf")).sum() == 2 * 3 * 4


def test_refuses_noise_that_would_lose_its_fraction():
    with pytest.raises(TypeError, match=r"fill images of torch.uint8 with values of torch.float32"):
        erase(torch.zeros(2, 3, 4, 5, dtype=torch.uint8), boxes=BOXES, value=torch.randn(3, 4, 5), trick="cutout")


@pytest.mark.parametrize("shape", [(3, 4, 6), (7, 2, 3, 4, 5)])
def test_refuses_noise_of_another_shape(shape):
    with pytest.raises(RuntimeError, match="expand"):
        erase(torch.zeros(2, 3, 4, 5), boxes=BOXES, value=torch.zeros(shape), trick="cutout")


@pytest.mark.parametrize("size", [(4, 5), (200, 150)])
def test_is_not_differentiable(size):
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        erase(torch.zeros(2, 3, *size, requires_grad=True), boxes=BOXES, value=0.0, trick="cutout")


@pytest.mark.parametrize("value", [2.0, (1.0, 2.0, 3.0), "noise"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_large_images_on_the_cpu_are_erased_one_by_one_with_the_same_result(monkeypatch, value, memory_format):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 90, 100, generator=generator).contiguous(memory_format=memory_format)
    boxes = torch.randint(-20, 80, (3, 4, 4), generator=generator)
    boxes[..., 2:].clamp_(min=0)
    value = torch.rand(images.shape, generator=generator) if value == "noise" else value
    one_by_one = erase(images, boxes=boxes, value=value, trick="cutout")
    monkeypatch.setattr("lightning_tricks.functional.erasing._LARGE_IMAGE", 2**30)
    by_mask = erase(images, boxes=boxes, value=value, trick="cutout")
    expected = images.clone()
    for i, row, column in np.ndindex(3, 90, 100):
        for top, left, height, width in boxes[i].tolist():
            if top <= row < top + height and left <= column < left + width:
                noise = value[i, :, row, column] if isinstance(value, torch.Tensor) else torch.tensor(value)
                expected[i, :, row, column] = noise
    assert torch.equal(one_by_one, expected)
    assert torch.equal(by_mask, expected)
    assert one_by_one.is_contiguous(memory_format=memory_format)
