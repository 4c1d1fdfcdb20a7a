import contextlib
import random
import re

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_tricks import Augment, Mixup
from lightning_tricks.callbacks.augment import _seeded

N, H, W = 8, 16, 12
IMAGES = torch.rand(N, 3, H, W, generator=torch.Generator().manual_seed(0))
BYTES = (IMAGES * 255).to(torch.uint8)
LABELS = torch.arange(N)


@pytest.mark.parametrize(
    "transform",
    [
        v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        v2.RandAugment(),
        v2.TrivialAugmentWide(),
        v2.Compose([v2.RandomCrop((H, W), padding=4), v2.RandomHorizontalFlip(), v2.ColorJitter(0.5)]),
        v2.AugMix(),
    ],
    ids=lambda transform: type(transform).__name__,
)
@pytest.mark.parametrize("images", [IMAGES, BYTES], ids=["float", "uint8"])
@pytest.mark.parametrize("per_sample", [True, False])
def test_published_policies(transform, images, per_sample):
    trick = Augment(transform, per_sample=per_sample)
    first, labels = trick((images, LABELS), rng=1)
    assert labels is LABELS
    assert first.dtype == images.dtype
    assert type(first) is torch.Tensor
    assert torch.equal(trick((images, LABELS), rng=1)[0], first)
    assert any(not torch.equal(trick((images, LABELS), rng=seed)[0], first) for seed in range(2, 5))


def flipped(trick, images=IMAGES, rng=0):
    result = trick((images, LABELS), rng=rng)[0]
    return [torch.equal(image, original.flip(-1)) for image, original in zip(result, images, strict=True)]


def test_each_image_has_its_own_draw_or_the_batch_has_one():
    transform = v2.RandomHorizontalFlip()
    assert len(set(flipped(Augment(transform)))) == 2
    once = [set(flipped(Augment(transform, per_sample=False), rng=seed)) for seed in range(8)]
    assert {len(kinds) for kinds in once} == {1}
    assert {kind for kinds in once for kind in kinds} == {True, False}


BOX = tv_tensors.BoundingBoxes(torch.tensor([[0.0, 0, 4, 6]]), format="XYXY", canvas_size=(H, W))
DETECTION = [{"boxes": BOX, "labels": torch.zeros(1)} for _ in range(N)]


@pytest.mark.parametrize("target", [LABELS, DETECTION], ids=["labels", "detection"])
@pytest.mark.parametrize("per_sample", [True, False])
def test_a_transform_that_works_in_place_does_not_reach_the_batch(target, per_sample):
    images = IMAGES.clone()
    transform = v2.Normalize([0.5] * 3, [0.2] * 3, inplace=True)
    changed = Augment(transform, per_sample=per_sample)((images, target), rng=0)[0]
    torch.testing.assert_close(changed, (IMAGES - 0.5) / 0.2)
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("target", [LABELS, DETECTION], ids=["labels", "detection"])
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("transform", [v2.RandomHorizontalFlip(p=1.0), v2.RandomCrop((H, W), padding=3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_is_kept(target, per_sample, transform, memory_format):
    images = IMAGES.contiguous(memory_format=memory_format)
    moved = Augment(transform, per_sample=per_sample)((images, target), rng=0)[0]
    assert moved.is_contiguous(memory_format=memory_format)
    assert torch.equal(moved, Augment(transform, per_sample=per_sample)((IMAGES, target), rng=0)[0])


def test_masks_follow_their_images():
    masks = torch.randint(5, (N, H, W))
    target = {"mask": masks, "label": LABELS, "weights": torch.rand(N, 4), "deep": [masks.unsqueeze(1).float()]}
    for per_sample in (True, False):
        images, moved = Augment(v2.RandomHorizontalFlip(p=1.0), per_sample=per_sample)((IMAGES, target), rng=0)
        assert torch.equal(images, IMAGES.flip(-1))
        assert torch.equal(moved["mask"], masks.flip(-1))
        assert moved["mask"].dtype == torch.int64
        assert type(moved["mask"]) is torch.Tensor
        assert torch.equal(moved["deep"][0], masks.unsqueeze(1).float().flip(-1))
        assert moved["label"] is LABELS
        assert moved["weights"] is target["weights"]


def test_one_typed_box_an_image_follows_it():
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[0, 0, 4, 6]] * N), format="XYXY", canvas_size=(H, W))
    for per_sample in (True, False):
        batch = {"image": tv_tensors.Image(IMAGES), "label": boxes}
        moved = Augment(v2.RandomHorizontalFlip(p=1.0), per_sample=per_sample)(batch, rng=0)
        assert type(moved["image"]) is tv_tensors.Image
        assert type(moved["label"]) is tv_tensors.BoundingBoxes
        assert moved["label"].tolist() == [[8, 0, 12, 6]] * N


def test_a_function_may_be_the_transform():
    assert torch.equal(Augment(lambda image: image * 2)((IMAGES, LABELS))[0], IMAGES * 2)


def global_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


DRAWS = {
    "random": lambda: random.random(),
    "numpy": lambda: np.random.random(),
    "torch": lambda: torch.rand(()).item(),
}


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_from_every_global_generator_are_reproducible_and_leave_no_trace(draw, per_sample):
    trick = Augment(lambda images: images * draw(), per_sample=per_sample)
    before = global_states()
    first = trick((IMAGES, LABELS), rng=1)[0]
    assert global_states() == before
    draw()
    assert torch.equal(trick((IMAGES, LABELS), rng=1)[0], first)
    assert not torch.equal(trick((IMAGES, LABELS), rng=2)[0], first)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_global_state_is_restored_after_an_exception(draw):
    def fail(image):
        draw()
        raise RuntimeError("broken transform")

    before = global_states()
    with pytest.raises(RuntimeError, match="broken transform"):
        Augment(fail)((IMAGES, LABELS))
    assert global_states() == before


class FakeAccelerator:
    """Stands in for torch.mps or torch.xpu: one state per device, and the calls that set one."""

    def __init__(self, count):
        self.states = [torch.tensor([index], dtype=torch.uint8) for index in range(count)]
        self.calls = []

    def get_rng_state(self, device):
        return self.states[device]

    def set_rng_state(self, state, device):
        self.states[device] = state
        self.calls.append(device)


@pytest.mark.parametrize("device", ["mps:0", "xpu:1", "mtia:1"])
@pytest.mark.parametrize("error", [None, RuntimeError("broken transform")])
def test_the_generator_of_every_kind_of_device_is_seeded_and_restored(device, error, monkeypatch):
    """No such device is in reach, so torch's module of it and its generator are stood in for."""
    device, module = torch.device(device), FakeAccelerator(2)
    before = [state.clone() for state in module.states]
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda where: generator() if where == device else None)
    with pytest.raises(RuntimeError, match="broken") if error else contextlib.nullcontext(), _seeded(7, device):
        inside = [state.clone() for state in module.states]
        if error:
            raise error
    seeded = generator().manual_seed(7).get_state()
    assert [torch.equal(state, seeded) for state in inside] == [index == device.index for index in range(2)]
    assert all(torch.equal(state, old) for state, old in zip(module.states, before, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_the_gpu_is_seeded_and_restored():
    images = IMAGES.cuda()
    trick = Augment(lambda images: images * torch.rand((), device="cuda"))
    before = torch.cuda.get_rng_state().tolist()
    first = trick((images, LABELS), rng=1)[0]
    assert torch.cuda.get_rng_state().tolist() == before
    torch.rand((), device="cuda")
    assert torch.equal(trick((images, LABELS), rng=1)[0], first)


KORNIA = {
    "flip": lambda **keep: K.RandomHorizontalFlip(p=1.0, **keep),
    "affine": lambda **keep: K.RandomAffine(15.0, p=1.0, **keep),
    "jiggle": lambda **keep: K.ColorJiggle(0.2, 0.2, 0.2, 0.2, p=1.0, **keep),
    "erasing": lambda **keep: K.RandomErasing(p=1.0, **keep),
    "sequential": lambda **keep: K.AugmentationSequential(K.RandomAffine(15.0, p=1.0, **keep), data_keys=["input"]),
    "image sequential": lambda **keep: K.ImageSequential(K.RandomAffine(15.0, p=1.0, **keep)),
}


@pytest.mark.parametrize("make", KORNIA.values(), ids=KORNIA)
@pytest.mark.parametrize("keep", [{}, {"keepdim": True}], ids=["adds an axis", "keeps them"])
@pytest.mark.parametrize("images", [IMAGES, IMAGES[:1]], ids=["batch", "one"])
def test_kornia_modules(make, keep, images):
    for per_sample in (True, False):
        trick = Augment(make(**keep), per_sample=per_sample)
        state = torch.get_rng_state()
        first = trick((images, LABELS[: len(images)]), rng=1)[0]
        assert torch.equal(torch.get_rng_state(), state)
        assert (first.shape, first.dtype, type(first)) == (images.shape, images.dtype, torch.Tensor)
        assert torch.equal(trick((images, LABELS[: len(images)]), rng=1)[0], first)
        assert not torch.equal(first, images)


def test_kornia_flips_each_image_for_itself():
    grey = IMAGES[:, :1]
    assert torch.equal(Augment(K.RandomHorizontalFlip(p=1.0))((grey, LABELS))[0], grey.flip(-1))
    assert len(set(flipped(Augment(K.RandomHorizontalFlip(p=0.5))))) == 2
    assert all(flipped(Augment(K.RandomHorizontalFlip(p=1.0))))


@pytest.mark.parametrize("transform", [K.RandomMixUpV2(), K.ImageSequential(K.RandomMixUpV2())])
def test_a_kornia_module_that_mixes_is_refused(transform):
    with pytest.raises(TypeError, match=r"(?s)^Augment needs a transform of single images.*use Mixup or CutMix"):
        Augment(transform)


@pytest.mark.parametrize(
    ("transform", "given", "got"),
    [
        (lambda image: image[0], "float32[3, 16, 12]", "float32[16, 12]"),
        (lambda image: image.mean(), "float32[3, 16, 12]", "float32[]"),
        (lambda image: torch.stack([image, image]), "float32[3, 16, 12]", "float32[2, 3, 16, 12]"),
        (lambda image: image[None, None], "float32[3, 16, 12]", "float32[1, 1, 3, 16, 12]"),
        (lambda image: image[:, None], "float32[3, 16, 12]", "float32[3, 1, 16, 12]"),
    ],
)
def test_a_transform_that_changes_the_number_of_axes_is_refused(transform, given, got):
    shapes = f"for {re.escape(given)} got {re.escape(got)};"
    with pytest.raises(ValueError, match=f"^Augment needs a transform that keeps the number of axes, but {shapes}"):
        Augment(transform)((IMAGES, LABELS), rng=0)


@pytest.mark.parametrize("transform", [lambda images: images[0], lambda images: images.mean(1)])
def test_a_transform_that_drops_an_axis_of_the_batch_is_refused(transform):
    with pytest.raises(ValueError, match=r"^Augment needs a transform that keeps the number of axes"):
        Augment(transform, per_sample=False)((IMAGES, LABELS), rng=0)


def test_a_mask_of_soft_labels_is_refused():
    blended = Mixup(alpha=1.0)((IMAGES, torch.randint(5, (N, H, W))), rng=0)
    with pytest.raises(TypeError, match="Augment cannot move a mask of soft labels; put Augment before the"):
        Augment(v2.RandomHorizontalFlip())(blended)


def test_images_of_several_sizes_are_refused():
    with pytest.raises(ValueError, match="Augment needs a transform that gives images of one size, but got several"):
        Augment(v2.RandomResize(8, 16))((IMAGES, LABELS), rng=0)


@pytest.mark.parametrize(
    "transform", [v2.ToPILImage(), v2.FiveCrop(4), lambda image: None, len, lambda image: image.numpy()]
)
def test_a_transform_that_gives_no_tensor_is_refused(transform):
    with pytest.raises(
        TypeError, match=r"^Augment needs a transform that gives a tensor .* for float32\[3, 16, 12\] got"
    ):
        Augment(transform)((IMAGES, LABELS), rng=0)


@pytest.mark.parametrize("transform", [len, lambda sample: sample[:1], lambda sample: [*sample, 1]])
def test_a_transform_that_keeps_or_adds_something_is_refused(transform):
    with pytest.raises(
        TypeError, match=r"^Augment needs a transform that gives a tensor for each that it gets, but for"
    ):
        Augment(transform)((IMAGES, torch.randint(5, (N, H, W))), rng=0)


def test_a_transform_that_drops_images_is_refused():
    with pytest.raises(ValueError, match=r"Augment needs a transform that gives as many images .* but for 8 got 1"):
        Augment(lambda images: images[:1], per_sample=False)((IMAGES, LABELS), rng=0)


@pytest.mark.parametrize("count", [2, N + 1])
def test_boxes_that_are_not_one_an_image_are_refused(count):
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[0, 0, 4, 6]] * count), format="XYXY", canvas_size=(H, W))
    with pytest.raises(ValueError, match=rf"Augment needs one mask or box .* 8 images, but got int64\[{count}, 4\]"):
        Augment(v2.RandomHorizontalFlip())((IMAGES, boxes), rng=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"transform": "flip"}, TypeError, "Augment needs a transform that can be called, but got 'flip'"),
        ({"transform": v2.MixUp(num_classes=3)}, TypeError, "Augment needs a transform of single images.*use Mixup"),
        ({"transform": v2.Identity(), "per_sample": 1}, TypeError, "Augment needs per_sample to be True or False"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Augment(**arguments)
