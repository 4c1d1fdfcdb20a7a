"""Masks, heat maps and labels of patches that are coarser than the images, against a loop over their pixels."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_tricks import RICAP, Augment, CutMix, Mixup, Mosaic, RandomChoice, SoftTarget

N, H, W = 4, 12, 24
IMAGES = torch.rand(N, 3, H, W, generator=torch.Generator().manual_seed(0))
STRIDES = [(1, 1), (2, 2), (3, 3), (4, 4), (6, 6), (12, 12)]
CUTTING = [CutMix(), CutMix(per_sample=True), RICAP(beta=1.0)]


def middles(fine, stride):
    """The image pixel in the middle of each coarse one, taken one by one."""
    down, across = stride
    rows, columns = fine.shape[-2] // down, fine.shape[-1] // across
    coarse = fine.new_zeros(*fine.shape[:-2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            coarse[..., row, column] = fine[..., row * down + down // 2, column * across + across // 2]
    return coarse


def coarse_of(stride, dtype=torch.int64, channels=()):
    rows, columns = H // stride[0], W // stride[1]
    return (
        torch.arange(N * rows * columns)
        .view(N, *[1] * len(channels), rows, columns)
        .expand(N, *channels, rows, columns)
        .to(dtype)
    )


@pytest.mark.parametrize("trick", CUTTING, ids=["one box", "boxes", "RICAP"])
@pytest.mark.parametrize("stride", [*STRIDES, (4, 2), (1, 3)])
def test_each_coarse_pixel_goes_where_its_middle_goes(trick, stride):
    coarse = coarse_of(stride)
    fine = coarse.repeat_interleave(stride[0], 1).repeat_interleave(stride[1], 2)
    changed = 0
    for seed in range(20):
        mixed = trick((IMAGES, coarse), rng=seed)[1]
        reference = trick((IMAGES, fine), rng=seed)[1]
        assert torch.equal(mixed, middles(reference, stride))
        changed += not torch.equal(mixed, coarse)
    assert changed > 5


@pytest.mark.parametrize("stride", STRIDES)
def test_each_quadrant_of_a_coarse_mosaic_shows_one_image(stride):
    coarse = torch.arange(N).view(N, 1, 1).expand(N, H // stride[0], W // stride[1])
    fine = torch.arange(N).view(N, 1, 1).expand(N, H, W)
    for seed in range(20):
        mixed = Mosaic((0.0, 1.0))((IMAGES, coarse), rng=seed)[1]
        assert torch.equal(mixed, middles(Mosaic((0.0, 1.0))((IMAGES, fine), rng=seed)[1], stride))


def test_a_coarse_quadrant_shows_the_whole_mask():
    """With the middle as center a mask is halved: each pixel of a quadrant is the one under its middle."""
    coarse = coarse_of((3, 3))
    for seed in range(8):
        trick = Mosaic((0.5, 0.5))
        (_, mixed), params = trick.rewrite((IMAGES, coarse), np.random.default_rng(seed))
        for i in range(N):
            for q, shift in enumerate(params.shifts):
                top, left = q // 2 * 2, q % 2 * 4
                quadrant = mixed[i, top : top + 2, left : left + 4]
                assert torch.equal(quadrant, coarse[(i + shift) % N][1::2, 1::2])


@pytest.mark.parametrize("trick", [*CUTTING, Mosaic()], ids=["one box", "boxes", "RICAP", "Mosaic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8])
@pytest.mark.parametrize("channels", [(), (1,), (5,), (2, 3)])
def test_every_form_of_a_coarse_target_is_cut_alike(trick, dtype, channels):
    plain = trick((IMAGES, coarse_of((4, 4))), rng=5)[1]
    mixed = trick((IMAGES, coarse_of((4, 4), dtype, channels)), rng=5)[1]
    assert type(mixed) is torch.Tensor
    assert mixed.dtype == dtype
    assert torch.equal(mixed, plain.view(N, *[1] * len(channels), 3, 6).expand_as(mixed).to(dtype))
    assert not torch.equal(plain, coarse_of((4, 4)))


def test_coarse_soft_labels_are_cut_in_each_component():
    coarse = torch.randint(3, (N, 3, 6))
    blended = Mixup(alpha=1.0)((IMAGES, coarse), rng=0)[1]
    assert isinstance(blended, SoftTarget)
    mixed = CutMix()((IMAGES, blended), rng=5)[1]
    dense = CutMix()((IMAGES, blended.probabilities(3)), rng=5)[1]
    torch.testing.assert_close(mixed.probabilities(3), dense)


def test_a_target_of_one_pixel_is_mixed_by_weight():
    probabilities = torch.rand(N, 5)
    for trick in (*CUTTING, Mosaic()):
        flat, deep = (trick((IMAGES, target), rng=5)[1] for target in (probabilities, probabilities[..., None, None]))
        assert torch.equal(flat, deep[..., 0, 0])


BAD = {
    "no whole fraction": torch.zeros(N, 5, 6),
    "finer than the images": torch.zeros(N, 1, 2 * H, 2 * W),
    "channels last": torch.zeros(N, H, W, 3),
    "coarse channels last": torch.zeros(N, 3, 6, 2),
    "several tasks": torch.zeros(N, 2, 3),
    "nothing": torch.zeros(N, 0, 6),
}
TRICKS = [*CUTTING, Mosaic(), Augment(v2.RandomHorizontalFlip())]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.name)
@pytest.mark.parametrize("target", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("nest", [lambda target: target, lambda target: {"mask": target}])
def test_a_size_that_does_not_divide_the_images_is_refused(trick, target, nest):
    with pytest.raises(ValueError, match=rf"^{trick.name} needs targets with a height and width .*resize them"):
        trick((IMAGES, nest(target)), rng=0)


@pytest.mark.parametrize("trick", [CutMix(p=0.0), Augment(v2.RandomHorizontalFlip(), p=0.0)], ids=lambda t: t.name)
def test_a_size_that_does_not_fit_is_refused_before_anything_is_drawn(trick):
    for seed in range(4):
        for refuses in (trick, RandomChoice([Mixup(), trick])):
            with pytest.raises(ValueError, match=rf"^{trick.name} needs targets with a height and width"):
                refuses((IMAGES, torch.zeros(N, 5, 6)), rng=seed)


def test_detection_masks_of_another_size_are_refused():
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[0.0, 0, 4, 6]]), format="XYXY", canvas_size=(H, W))
    target = [{"boxes": boxes, "labels": torch.zeros(1), "masks": torch.zeros(1, H // 2, W // 2)}] * N
    with pytest.raises(ValueError, match=r"Augment needs masks of the images' size \(12, 24\), but got float32"):
        Augment(v2.RandomHorizontalFlip())((IMAGES, target), rng=0)


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.name)
@pytest.mark.parametrize("count", [2 * 4, 3 * 6, 6 * 12])
def test_labels_of_patches_in_a_row_are_refused(trick, count):
    with pytest.raises(ValueError, match=rf"^{trick.name} needs labels of patches .*int64\[4, {count}\].*reshape them"):
        trick((IMAGES, torch.zeros(N, count, dtype=torch.int64)), rng=0)
    trick((IMAGES, torch.zeros(N, count)), rng=0)  # probabilities of so many classes


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("typed", [tv_tensors.Mask, lambda mask: mask])
def test_a_coarse_mask_follows_a_transform(per_sample, stride, typed):
    coarse = typed(coarse_of(stride))
    flip = Augment(v2.RandomHorizontalFlip(), per_sample=per_sample)
    for seed in range(3):
        images, moved = flip((IMAGES, coarse), rng=seed)
        assert type(moved) is type(coarse)
        for i in range(N):
            flipped = torch.equal(images[i], IMAGES[i].flip(-1))
            assert torch.equal(moved[i], coarse[i].flip(-1) if flipped else coarse[i])


@pytest.mark.parametrize("per_sample", [True, False])
def test_a_coarse_mask_is_cropped_with_its_image(per_sample):
    crop = Augment(v2.CenterCrop((6, 12)), per_sample=per_sample)
    images, moved = crop((IMAGES, coarse_of((3, 3))), rng=0)
    assert torch.equal(images, IMAGES[..., 3:9, 6:18])
    assert torch.equal(moved, coarse_of((3, 3))[..., 1:3, 2:6])
    with pytest.raises(ValueError, match=r"needs a transform whose images can be divided by \(4, 4\).*\(6, 12\)"):
        crop((IMAGES, coarse_of((4, 4))), rng=0)
