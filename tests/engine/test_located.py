"""What stands in a batch beside the images and the target: included where it is named, otherwise not overlooked."""

import dataclasses
import warnings
from collections import OrderedDict, UserDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightning_tricks import (
    RICAP,
    Augment,
    BatchTrick,
    CutMix,
    Cutout,
    Distillation,
    LabelSmoothing,
    Mixup,
    Mosaic,
    RandomChoice,
    RandomErasing,
    SoftTarget,
)
from tests.plain import PlainModule, image_loader
from tests.registry import Brightness

N, H, W = 4, 8, 12
X = torch.rand(N, 3, H, W, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N)
MASK = torch.randint(3, (N, H, W), generator=torch.Generator().manual_seed(1))
WEIGHT = torch.rand(N, generator=torch.Generator().manual_seed(2))
FLIP = Augment(v2.RandomHorizontalFlip(p=1.0))
MOVING = [FLIP, Augment(v2.RandomHorizontalFlip(p=1.0), per_sample=False), CutMix(), RICAP(), Mosaic()]
MOVING += [RandomChoice([Mixup(), CutMix()])]
MIXING = [Mixup(), CutMix(), RICAP(), Mosaic(), RandomChoice([Mixup(), RandomChoice([CutMix(), Cutout(length=2)])])]
UNMOVED = [Cutout(length=2), RandomErasing(), LabelSmoothing(), Distillation(Brightness())]


def name(trick):
    return trick.name


Point = namedtuple("Point", ["image", "label", "more"])


@dataclasses.dataclass(frozen=True)
class Record:
    image: Any
    label: Any
    more: Any


CONTAINERS = {
    "dict": (lambda more: {"image": X, "label": Y, "more": more}, "'more'"),
    "ordered dict": (lambda more: OrderedDict(pixel_values=X, labels=Y, more=more), "'more'"),
    "user dict": (lambda more: UserDict(more=more, pixel_values=X, labels=Y), "'more'"),
    "tuple": (lambda more: (X, Y, more), "2"),
    "list": (lambda more: [X, Y, more], "2"),
    "named tuple": (lambda more: Point(X, Y, more), "'more'"),
    "dataclass": (lambda more: Record(X, Y, more), "'more'"),
    "nested dict": (lambda more: {"data": {"x": X, "y": Y}, "more": {"deep": more}}, r"\('more', 'deep'\)"),
    "beside in the nested dict": (lambda more: {"data": {"x": X, "y": Y, "more": more}}, r"\('data', 'more'\)"),
    "dict in a tuple": (lambda more: ({"image": X, "more": more}, Y), r"\(0, 'more'\)"),
    "tuple in a tuple": (lambda more: (X, Y, ("a.png", [more])), r"\(2, 1, 0\)"),
    "dataclass in a dict": (lambda more: {"batch": Record(X, Y, more)}, r"\('batch', 'more'\)"),
}
containers = pytest.mark.parametrize(("pack", "key"), CONTAINERS.values(), ids=CONTAINERS.keys())
MASKS = {
    "mask": MASK,
    "mask with a channel": MASK[:, None],
    "mask with channels last": MASK[..., None],
    "float mask": MASK[:, None].float(),
    "bool mask": MASK > 0,
    "list of masks": list(MASK),
    "list of dicts": [{"mask": mask} for mask in MASK],
    "typed boxes": tv_tensors.BoundingBoxes(torch.ones(N, 4), format="XYXY", canvas_size=(H, W)),
    "coarse typed mask": tv_tensors.Mask(MASK[:, ::2, ::2]),
    "further view": X.clone(),
}
OTHERS = {
    "weight": WEIGHT,
    "index": Y + 7,
    "features": torch.rand(N, 5),
    "list of tensors": [torch.rand(i) for i in range(N)],
    "coarse mask": MASK[:, ::2, ::2],
}


@containers
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_a_mask_that_would_be_left_behind_is_refused_wherever_it_stands(pack, key, mask):
    for trick in MOVING[:3:2]:
        with pytest.raises(ValueError, match=rf"^{trick.name} needs to move {key} \(.*ignore_keys=\[{key}"):
            trick(pack(mask), rng=0)


@pytest.mark.parametrize("trick", MOVING, ids=name)
@pytest.mark.parametrize("batch", [{"image": X, "label": Y, "mask": MASK}, (X, Y, MASK)], ids=["dict", "tuple"])
def test_every_trick_that_moves_pixels_refuses_to_leave_a_mask_behind(trick, batch):
    for seed in range(3):
        with pytest.raises(ValueError, match=r"needs to move (2|'mask') \(int64\[4, 8, 12\]\) with the images"):
            trick(batch, rng=seed)


def test_a_mask_without_any_target_is_refused():
    with pytest.raises(ValueError, match=r"Augment needs to move 'mask' .*pass target_key=\['mask'\], or ignore_keys"):
        FLIP({"image": X, "mask": MASK}, rng=0)
    assert torch.equal(Augment(FLIP.transform, target_key=["mask"])({"image": X, "mask": MASK})["mask"], MASK.flip(-1))


@containers
@pytest.mark.parametrize("more", OTHERS.values(), ids=OTHERS.keys())
def test_what_belongs_to_the_images_and_is_not_mixed_is_said(pack, key, more):
    with pytest.warns(UserWarning, match=rf"^Mixup takes .*beside it: {key} \(.*pass ignore_keys=\[{key}") as record:
        batch = Mixup(alpha=1.0)(pack(more), rng=0)
    assert len(record) == 1
    assert not torch.equal(tensors_of(batch)[0], X) or isinstance(batch, UserDict)


def tensors_of(batch):
    if isinstance(batch, torch.Tensor):
        return [batch]
    if dataclasses.is_dataclass(batch):
        batch = vars(batch)
    entries = batch.values() if hasattr(batch, "values") else batch if isinstance(batch, (list, tuple)) else ()
    return [tensor for entry in entries for tensor in tensors_of(entry)]


@pytest.mark.parametrize("trick", MIXING, ids=name)
def test_every_mixing_trick_says_once_what_it_leaves_alone(trick):
    with pytest.warns(UserWarning, match=rf"^{trick.name} takes the target at \[1\] .* 2 \(float32\[4\]\)") as record:
        trick((X, Y, WEIGHT), rng=0)
    assert len(record) == 1
    assert record[0].filename == __file__


@pytest.mark.parametrize("trick", [Mixup(), LabelSmoothing(), Distillation(Brightness())], ids=name)
def test_two_entries_that_may_be_the_labels_are_said(trick):
    with pytest.warns(UserWarning, match=r"takes the target at \[1\] .*: 2 \(int64\[4\]\).*its key alone where it is"):
        trick((X, Y + 7, Y), rng=0)
    trick.target_key, trick.ignore_keys = 2, [1]
    try:
        assert torch.equal(trick((X, Y + 7, Y), rng=0)[2].hard, Y)
    finally:
        trick.target_key = trick.ignore_keys = None


@pytest.mark.parametrize("trick", UNMOVED, ids=name)
@pytest.mark.parametrize("more", [MASK, WEIGHT, list(MASK)], ids=["mask", "weight", "list"])
def test_nothing_is_said_where_nothing_becomes_wrong(trick, more):
    assert trick((X, Y, more), rng=0)[2] is more
    assert trick({"image": X, "label": Y, "more": more}, rng=0)["more"] is more


@pytest.mark.parametrize("trick", [*MIXING, FLIP], ids=name)
@pytest.mark.parametrize(
    "more",
    ["a.png", ["a", "b", "c", "d"], 3, None, torch.tensor(0.5), torch.rand(N + 1), torch.rand(H, W), [1.0, 2.0], {}],
    ids=["str", "strings", "int", "None", "scalar", "other length", "one grid", "numbers", "empty"],
)
def test_what_belongs_to_no_image_is_left_without_a_word(trick, more):
    assert trick({"image": X, "label": Y, "more": more}, rng=0)["more"] is more


@containers
@pytest.mark.parametrize("more", [MASK, WEIGHT], ids=["mask", "weight"])
@pytest.mark.parametrize("make", [Mixup, CutMix, lambda **keys: Augment(FLIP.transform, **keys)])
def test_what_is_declared_stays_as_it_is(pack, key, more, make):
    path = {r"\('more', 'deep'\)": ("more", "deep"), r"\('data', 'more'\)": ("data", "more")} | {
        r"\(0, 'more'\)": (0, "more"),
        r"\(2, 1, 0\)": (2, -1),
        r"\('batch', 'more'\)": ("batch", "more"),
        "2": -1,
        "'more'": "more",
    }
    for ignored in (path[key], [path[key], "absent", 17]):
        batch = make(ignore_keys=ignored)(pack(more), rng=0)
        assert any(tensor is more for tensor in tensors_of(batch))


def test_the_entries_of_other_objects_are_looked_at_too():
    batch = SimpleNamespace(picture=X, kind=Y, mask=MASK)
    with pytest.raises(ValueError, match=r"needs to move 'mask' .*target_key=\['kind', 'mask'\]"):
        CutMix(input_key="picture", target_key="kind")(batch, rng=0)


@pytest.mark.parametrize("getter", [lambda b: b[1], lambda b: b[1].clone(), lambda b: None])
def test_a_getter_says_where_the_target_is_if_it_returns_what_is_there(getter):
    trick = Mixup(target_key=(getter, lambda b, value: (b[0], value, b[2])))
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        trick((X, Y, WEIGHT), rng=0)
    assert len(record) == (getter((X, Y)) is Y)


@pytest.mark.parametrize("make", [Mixup, CutMix, RICAP, Mosaic])
def test_several_places_are_mixed_alike(make):
    mixed = make(target_key=["label", ("more", "weight"), "mask"])(
        {"image": X, "label": Y, "more": {"weight": WEIGHT}, "mask": MASK, "id": ["a"] * N}, rng=3
    )
    images, label = make()((X, Y), rng=3)
    assert torch.equal(mixed["image"], images)
    assert torch.equal(mixed["label"].probabilities(N), label.probabilities(N))
    torch.testing.assert_close(mixed["more"]["weight"], label.probabilities(N) @ WEIGHT)
    alone = make()((X, MASK), rng=3)[1]
    assert type(mixed["mask"]) is type(alone)
    dense = (each.probabilities(3) if isinstance(each, SoftTarget) else each for each in (mixed["mask"], alone))
    assert torch.equal(*dense)


def test_several_places_follow_a_transform():
    moved = Augment(v2.RandomHorizontalFlip(p=1.0), target_key=[1, 2])((X, Y, MASK), rng=0)
    assert torch.equal(moved[0], X.flip(-1))
    assert torch.equal(moved[2], MASK.flip(-1))
    assert moved[1] is Y


def test_several_places_are_smoothed_and_one_is_distilled():
    smoothed = LabelSmoothing(0.1, target_key=[1, 2])((X, Y, WEIGHT), rng=0)
    assert smoothed[1].label_smoothing == 0.1
    assert smoothed[2] is WEIGHT
    with pytest.raises(TypeError, match=r"Distillation needs class labels .* as its one target, but got list of 2"):
        Distillation(Brightness(), target_key=[1, 2])((X, Y, Y), rng=0)


def test_detection_targets_stand_alone():
    boxes = [{"boxes": torch.rand(N, 4), "labels": Y} for _ in range(N)]
    with pytest.raises(TypeError, match="Mixup needs a detection target to be its one target, but got"):
        Mixup(target_key=[1, 2])((X, boxes, Y), rng=0)
    with pytest.raises(TypeError, match="Mixup needs a detection target to be its one target, but got it among others"):
        Mixup()((X, {"boxes": boxes, "label": Y}), rng=0)


def test_masks_of_single_images_in_a_list_are_no_targets():
    images, masks = torch.rand(N, 3, N, W), list(torch.rand(N, N, W))
    with pytest.raises(TypeError, match=r"CutMix needs masks as one tensor, but got list of 4 .*; stack them"):
        CutMix()((images, masks), rng=0)


def test_a_label_that_is_ignored_is_no_target():
    images, index = Mixup(alpha=1.0, ignore_keys=[-1])((X, Y), rng=0)
    assert index is Y
    assert not torch.equal(images, X)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target_key": []}, ValueError, r"Mixup needs target_key to be one or several different keys, but got \[\]"),
        ({"target_key": [1, 1]}, ValueError, "needs target_key to be one or several different keys"),
        ({"target_key": [1, 1.5]}, TypeError, "Mixup needs target_key to be .* or a list of these, but got 1.5"),
        ({"ignore_keys": [1.5]}, TypeError, "Mixup needs ignore_keys to be an index"),
        ({"ignore_keys": True}, TypeError, "Mixup needs ignore_keys to be an index"),
        ({"input_key": [0]}, TypeError, r"Mixup needs input_key to be .*\(getter, setter\) pair, but got \[0\]"),
    ],
)
def test_bad_keys(arguments, error, message):
    with pytest.raises(error, match=message):
        Mixup(**arguments)


def test_a_path_that_was_given_as_a_list():
    with pytest.raises(ValueError, match=r"told target_key='data', but .*; a path is a tuple \(in YAML a list in a"):
        Mixup(target_key=["data", "y"])((X, Y), rng=0)


@pytest.mark.parametrize(
    ("given", "kept"), [("y", "y"), (["y", "mask"], ["y", "mask"]), ([["data", "y"], "mask"], [("data", "y"), "mask"])]
)
def test_keys_in_yaml(given, kept):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=list[BatchTrick])
    arguments = {"target_key": given, "ignore_keys": given}
    config = parser.parse_object({"callbacks": [{"class_path": "lightning_tricks.CutMix", "init_args": arguments}]})
    (trick,) = parser.instantiate(config).callbacks
    assert [tuple(key) if isinstance(key, list) else key for key in [*trick.target_key]] == [*kept]
    assert [tuple(key) if isinstance(key, list) else key for key in [*trick.ignore_keys]] == [*kept]


class WithWeights(PlainModule):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch[:2], batch_idx)


@pytest.mark.parametrize(
    "make", [lambda: [Mixup()], lambda: [RandomChoice([Mixup(), CutMix()])], lambda: [Mixup(p=0.5), CutMix(p=0.5)]]
)
@pytest.mark.filterwarnings("ignore:.* stand in one callback list")
def test_one_warning_per_fit(make_trainer, make):
    data = TensorDataset(*image_loader().dataset.tensors, torch.rand(32))
    tricks = make()
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"^{' and '.join(map(name, tricks))} takes the target at") as record:
            make_trainer(callbacks=tricks, max_epochs=2).fit(WithWeights(), DataLoader(data, batch_size=8))
        assert sum("leaves alone" in str(warning.message) for warning in record) == 1


def test_an_earlier_trick_may_make_the_batch_fit_for_a_later_one(make_trainer):
    """What is left alone is looked for before any trick applies, when the images may be bytes still."""
    images = torch.randint(256, (8, 3, 6, 4), dtype=torch.uint8)
    data = TensorDataset(images, torch.arange(8) % 5, torch.rand(8))
    tricks = [Augment(v2.ToDtype(torch.float32, scale=True), per_sample=False), Mixup()]
    with pytest.warns(UserWarning, match=r"^Mixup takes the target at \[1\] and leaves alone .* 2 \(float32\[8\]\)"):
        make_trainer(callbacks=tricks).fit(WithWeights(), DataLoader(data, batch_size=8))


@pytest.mark.parametrize("trick", [Mixup, CutMix, RICAP, Mosaic])
def test_the_batch_of_another_loader_is_none_of_its_concern(trick):
    batch = {"a": (X, Y), "b": (X.clone(), Y.clone())}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = trick(input_key=("a", 0), target_key=("a", 1))(batch, rng=0)
    assert isinstance(new["a"][1], SoftTarget)
    assert new["b"] is batch["b"]


def test_what_stands_beside_the_images_of_one_loader_is_still_said():
    batch = {"a": (X, Y, MASK), "b": (X.clone(), Y.clone())}
    with pytest.raises(ValueError, match=r"CutMix needs to move \('a', 2\)"):
        CutMix(input_key=("a", 0), target_key=("a", 1))(batch, rng=0)
