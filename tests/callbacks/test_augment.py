import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_tricks import Augment, Mixup

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


def test_global_state_is_restored_after_an_exception():
    def fail(image):
        torch.rand(3)
        raise RuntimeError("broken transform")

    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="broken transform"):
        Augment(fail)((IMAGES, LABELS))
    assert torch.equal(torch.get_rng_state(), state)


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
