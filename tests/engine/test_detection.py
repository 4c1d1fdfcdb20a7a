"""Detection batches: Mosaic and Mixup move what belongs to a box with it, the other tricks refuse them."""

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_tricks import RICAP, Augment, CutMix, Cutout, Mixup, Mosaic, RandomChoice, RandomErasing
from lightning_tricks.callbacks.mixing_trick import MixParams
from lightning_tricks.callbacks.mosaic import MosaicParams
from tests.plain import PlainModule

H, W = 8, 12
BOXES = [[[0.0, 0.0, 6.0, 4.0], [2.0, 2.0, 10.0, 8.0]], [], [[4.0, 0.0, 12.0, 8.0]]]


def make_batch(container=list):
    images = [torch.full((3, H, W), float(i)) for i in range(3)]
    targets = []
    for i, rows in enumerate(BOXES):
        boxes = torch.tensor(rows).view(-1, 4)
        masks = torch.zeros(len(rows), H, W, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, rows, strict=True):
            mask[int(y1) : int(y2), int(x1) : int(x2)] = 1
        targets.append(
            {
                "boxes": boxes,
                "labels": torch.arange(len(rows)) + 10 * i,
                "area": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
                "iscrowd": torch.zeros(len(rows), dtype=torch.int64),
                "masks": masks,
                "image_id": torch.tensor([i]),
                "path": f"{i}.png",
            }
        )
    return container(images), container(targets)


QUARTERS = MosaicParams(active=True, size=(H, W), center=(4, 6), shifts=(0, 1, 2, 0), weights=(0.25,) * 4)


def test_mosaic_moves_boxes_with_their_images():
    images, targets = make_batch()
    new_images, new_targets = Mosaic(min_box_size=0).apply(QUARTERS, torch.stack(images), targets)
    assert new_images[0, 0, ::4, ::6].tolist() == [[0, 1], [2, 0]]
    own = [[0, 0, 3, 2], [1, 1, 5, 4]]
    lower_left = [[2, 4, 6, 8]]
    lower_right = [[6, 4, 9, 6], [7, 5, 11, 8]]
    assert new_targets[0]["boxes"].tolist() == own + lower_left + lower_right
    assert new_targets[0]["labels"].tolist() == [0, 1, 20, 0, 1]
    assert new_targets[0]["iscrowd"].tolist() == [0] * 5
    assert new_targets[0]["area"].tolist() == [6, 12, 16, 6, 12]
    assert new_targets[0]["image_id"].tolist() == [0]
    assert new_targets[0]["path"] == "0.png"
    for mask, (x1, y1, x2, y2) in zip(new_targets[0]["masks"], own + lower_left + lower_right, strict=True):
        expected = torch.zeros(H, W, dtype=torch.uint8)
        expected[y1:y2, x1:x2] = 1
        assert torch.equal(mask, expected)
    assert [target["labels"].tolist() for target in new_targets[1:]] == [[20, 0, 1], [20, 0, 1, 20]]
    assert new_targets[2]["boxes"].tolist() == [[2, 0, 6, 4], [6, 0, 9, 2], [7, 1, 11, 4], [8, 4, 12, 8]]


def test_mosaic_drops_what_has_become_too_small():
    images, targets = make_batch()
    kept = Mosaic(min_box_size=3.5).apply(QUARTERS, torch.stack(images), targets)[1]
    assert kept[0]["boxes"].tolist() == [[2, 4, 6, 8]]
    assert kept[0]["labels"].tolist() == [20]
    assert kept[0]["masks"].shape == (1, H, W)
    nothing = Mosaic(min_box_size=100).apply(QUARTERS, torch.stack(images), targets)[1]
    assert nothing[0]["boxes"].shape == (0, 4)
    assert nothing[0]["labels"].dtype == torch.int64


def test_mixup_keeps_the_boxes_of_both():
    images, targets = make_batch()
    new_images, new_targets = Mixup().apply(
        MixParams(active=True, shifts=(0, 2), weights=(0.75, 1 - 0.75)), torch.stack(images), targets
    )
    assert new_images[:, 0, 0, 0].tolist() == [0.5, 0.75, 1.75]
    assert new_targets[0]["boxes"].tolist() == BOXES[0] + BOXES[2]
    assert new_targets[1]["boxes"].tolist() == BOXES[0]
    assert new_targets[0]["labels"].tolist() == [0, 1, 20]
    assert new_targets[0]["area"].tolist() == [24, 48, 64]
    assert new_targets[0]["masks"].shape == (3, H, W)
    assert new_targets[2]["image_id"].tolist() == [2]


@pytest.mark.parametrize("trick", [Mixup(alpha=1.0), Mosaic()], ids=["Mixup", "Mosaic"])
@pytest.mark.parametrize("container", [list, tuple])
def test_images_come_back_in_their_form_and_nothing_is_written_to(trick, container):
    batch = make_batch(container)
    images, targets = trick(batch, rng=1)
    assert type(images) is type(targets) is container
    assert all(image.shape == (3, H, W) for image in images)
    for before, after in zip(make_batch()[1], batch[1], strict=True):
        assert all(torch.equal(before[key], after[key]) for key in before if key != "path")
    stacked = trick((torch.stack(list(batch[0])), batch[1]), rng=1)
    assert torch.equal(stacked[0], torch.stack(list(images)))
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(stacked[1], targets, strict=True))


def test_boxes_of_a_type_of_their_own_keep_it():
    images, targets = make_batch()
    for target in targets:
        target["boxes"] = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=(H, W))
        target["masks"] = tv_tensors.Mask(target["masks"])
    for trick in (Mixup(alpha=1.0), Mosaic()):
        _, moved = trick((images, targets), rng=0)
        assert all(type(target["boxes"]) is tv_tensors.BoundingBoxes for target in moved)
        assert all(type(target["masks"]) is tv_tensors.Mask for target in moved)
        assert moved[0]["boxes"].canvas_size == (H, W)


def test_a_detector_trains_on_lists(make_trainer):
    class Detector(PlainModule):
        def training_step(self, batch, batch_idx):
            images, targets = batch
            assert isinstance(images, tuple)
            self.boxes.append(sum(len(target["boxes"]) for target in targets))
            return sum(image.mean() for image in images) + self.net[1].weight.sum() * 0

    module = Detector()
    module.boxes = []
    data = list(zip(*make_batch(), strict=True))
    loader = DataLoader(data * 4, batch_size=3, collate_fn=lambda samples: tuple(zip(*samples, strict=True)))
    make_trainer(callbacks=[Mixup(alpha=1.0)]).fit(module, loader)
    assert module.boxes == [6] * 4


@pytest.mark.parametrize(
    "trick",
    [CutMix(), RICAP(), Cutout(length=3), RandomErasing(), RandomChoice([CutMix()])],
    ids=["CutMix", "RICAP", "Cutout", "RandomErasing", "RandomChoice"],
)
def test_other_tricks_refuse_and_name_those_that_do_not(trick):
    name = "CutMix" if isinstance(trick, RandomChoice) else trick.name
    with pytest.raises(
        TypeError, match=f"{name} does not take detection targets, but got list of 3.*Mixup and Mosaic do"
    ):
        trick(make_batch(), rng=0)


def test_augment_moves_typed_boxes_and_refuses_plain_ones():
    images, targets = make_batch()
    flip = Augment(v2.RandomHorizontalFlip(p=1.0))
    with pytest.raises(TypeError, match=r"Augment needs boxes as tv_tensors\.BoundingBoxes, but got float32"):
        flip((images, targets), rng=0)
    for target in targets:
        target["boxes"] = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=(H, W))
    _, moved = flip((images, targets), rng=0)
    assert moved[0]["boxes"].tolist() == [[6, 0, 12, 4], [2, 2, 10, 8]]
    assert type(moved[0]["masks"]) is torch.Tensor
    assert torch.equal(moved[0]["masks"], targets[0]["masks"].flip(-1))
    assert moved[0]["labels"] is targets[0]["labels"]


def change(**entries):
    images, targets = make_batch()
    targets[1] = {**targets[1], **entries}
    return images, targets


@pytest.mark.parametrize(
    ("trick", "batch", "error", "message"),
    [
        (Mosaic(), change(keypoints=torch.zeros(0, 17, 3)), TypeError, "Mosaic: keypoints cannot be moved"),
        (
            Mosaic(),
            change(masks=torch.zeros(0, 4, 4)),
            ValueError,
            r"Mosaic: masks need the images' size \(8, 12\)",
        ),
        (
            Mosaic(),
            change(boxes=torch.zeros(0, 4).long()),
            TypeError,
            "Mosaic: boxes need to be floating-point",
        ),
        (
            Mosaic(),
            change(boxes=tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="CXCYWH", canvas_size=(H, W))),
            ValueError,
            "Mosaic: boxes need the format XYXY, but got CXCYWH",
        ),
        (
            Mixup(alpha=1.0),
            change(scores=torch.zeros(0)),
            ValueError,
            "Mixup: the dictionaries of a batch need",
        ),
        (
            Mixup(),
            ([torch.zeros(3, 4, 6), torch.zeros(3, 4, 8)], make_batch()[1][:2]),
            ValueError,
            "Mixup needs images of one size, but got list of 2",
        ),
    ],
)
def test_bad_targets(trick, batch, error, message):
    with pytest.raises(error, match=message):
        trick(batch, rng=0)


@pytest.mark.parametrize("trick", [Mixup(alpha=1.0), Mosaic(), Mixup(p=0.0)], ids=["Mixup", "Mosaic", "untouched"])
@pytest.mark.parametrize("count", [2, 4])
def test_one_target_an_image(trick, count):
    images, targets = make_batch()
    with pytest.raises(ValueError, match=f"{trick.name} needs one target for each of its 3 images, but got list of"):
        trick((images, (targets * 2)[:count]), rng=0)


@pytest.mark.parametrize("trick", [Mixup(alpha=1.0), Mosaic()], ids=["Mixup", "Mosaic"])
@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"boxes": [[0, 0, 1, 1]]}, TypeError, "boxes need to be a tensor with one row per box, but got list of 1"),
        ({"boxes": None}, TypeError, "boxes need to be a tensor with one row per box, but got NoneType"),
        ({"labels": []}, TypeError, "labels need to be a tensor with one row per box, but got list of 0"),
        (
            {"labels": torch.zeros(3)},
            ValueError,
            r"need one row per box, but got dict\('boxes': float32\[0",
        ),
        ({"labels": torch.tensor(0)}, ValueError, r"need one row per box, but got .*'labels': int64\[\]"),
        ({"boxes": torch.zeros(0)}, ValueError, r"boxes need shape \(M, 4\), but got dict\('boxes': float32\[0\]"),
    ],
)
def test_boxes_and_labels_that_would_part(trick, entries, error, message):
    with pytest.raises(error, match=f"^{trick.name}: .*{message}"):
        trick(change(**entries), rng=0)


@pytest.mark.parametrize("trick", [Mixup(alpha=1.0), Mosaic()], ids=["Mixup", "Mosaic"])
def test_an_entry_of_the_image_is_none_of_an_image_with_one_box(trick):
    targets = [
        {"boxes": torch.tensor([[1.0, 1, 9, 8]] * m), "labels": torch.ones(m), "dataset": torch.tensor([m])}
        for m in (1, 2, 1)
    ]
    _, new_targets = trick((torch.rand(3, 3, H, W), targets), rng=0)
    assert [target["dataset"].tolist() for target in new_targets] == [[1], [2], [1]]
    assert any(len(new["boxes"]) > len(old["boxes"]) for new, old in zip(new_targets, targets, strict=True))


@pytest.mark.parametrize(
    ("trick", "changes", "message"),
    [
        (Mixup(p=0.1), {"labels": [1]}, "Mixup: labels need to be a tensor"),
        (Mosaic(p=0.1), {"boxes": torch.ones(1, 4, dtype=torch.int64)}, "Mosaic: boxes need to be floating-point"),
    ],
)
def test_bad_targets_are_refused_whatever_is_drawn(trick, changes, message):
    target = {"boxes": torch.ones(1, 4), "labels": torch.ones(1)} | changes
    for seed in range(12):
        with pytest.raises(TypeError, match=message):
            trick((torch.rand(2, 3, H, W), [target, target]), rng=seed)


@pytest.mark.parametrize("per_sample", [True, False])
def test_augment_draws_for_each_image_or_once_for_the_batch(per_sample):
    images = torch.arange(2.0).expand(64, 1, 1, 2).contiguous()
    box = tv_tensors.BoundingBoxes(torch.tensor([[0.0, 0, 1, 1]]), format="XYXY", canvas_size=(1, 2))
    targets = [{"boxes": box, "masks": torch.tensor([[[1, 0]]])} for _ in images]
    trick = Augment(v2.RandomHorizontalFlip(), per_sample=per_sample)
    new_images, new_targets = trick((images, targets), rng=1)
    flipped = new_images[:, 0, 0, 0] == 1
    assert len(flipped.unique()) == (2 if per_sample else 1)
    for is_flipped, target in zip(flipped, new_targets, strict=True):
        assert target["boxes"].tolist() == ([[1, 0, 2, 1]] if is_flipped else [[0, 0, 1, 1]])
        assert target["masks"].tolist() == ([[[0, 1]]] if is_flipped else [[[1, 0]]])
        assert type(target["masks"]) is torch.Tensor


@pytest.mark.parametrize("trick", [Mixup(alpha=1.0), Mosaic()], ids=["Mixup", "Mosaic"])
@pytest.mark.parametrize(
    ("name", "rows", "error"),
    [("masks", torch.zeros(1, H, W), ValueError), ("iscrowd", [0, 0], TypeError), ("scores", None, TypeError)],
)
def test_what_belongs_to_the_boxes_is_never_left_behind(trick, name, rows, error):
    targets = [{"boxes": torch.ones(2, 4), "labels": torch.ones(2)} for _ in range(3)]
    targets[1][name] = rows
    with pytest.raises(error, match=f"{trick.name}: .*{name}"):
        trick((torch.rand(3, 3, H, W), targets), rng=0)


@pytest.mark.parametrize("per_sample", [True, False])
def test_augment_needs_one_target_an_image(per_sample):
    box = tv_tensors.BoundingBoxes(torch.ones(1, 4), format="XYXY", canvas_size=(H, W))
    with pytest.raises(ValueError, match="Augment needs one target for each of its 3 images"):
        Augment(v2.Identity(), per_sample=per_sample)((torch.rand(3, 3, H, W), [{"boxes": box}] * 2), rng=0)
