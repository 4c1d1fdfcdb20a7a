import numpy as np
import pytest
import torch

from lightning_tricks import RICAP, CutMix, Cutout, LabelSmoothing, Mixup, Mosaic, RandomChoice
from tests.plain import PlainModule, image_loader

IMAGES, LABELS = torch.rand(4, 3, 8, 6), torch.arange(4)


def chosen(choice, count=1000, **arguments):
    rng = np.random.default_rng(0)
    return [choice.rewrite((IMAGES, LABELS), rng, **arguments)[1] for _ in range(count)]


@pytest.mark.parametrize(("weights", "share"), [(None, 0.5), ([1, 3], 0.25), ([0.0, 2.0], 0.0)])
def test_parts_are_chosen_by_weight(weights, share):
    drawn = chosen(RandomChoice([Mixup(), CutMix()], weights=weights))
    mixups = sum(params.part.name == "Mixup" for params in drawn)
    assert all(params.part.name in ("Mixup", "CutMix") for params in drawn)
    assert abs(mixups - 1000 * share) <= 4 * (1000 * share * (1 - share)) ** 0.5


def test_the_parts_own_arguments_hold():
    parts = [Mixup(p=0.3), CutMix(start_epoch=2)]
    active = [params.active for params in chosen(RandomChoice(parts), epoch=0) if params.part.name == "Mixup"]
    assert abs(sum(active) - 0.3 * len(active)) < 4 * (0.21 * len(active)) ** 0.5
    assert not any(params.active for params in chosen(RandomChoice(parts), epoch=0) if params.part.name == "CutMix")
    batch = {"a": IMAGES, "b": LABELS}
    keyed = RandomChoice([Mixup(alpha=1.0, labels="dense", num_classes=4, input_key="a", target_key="b")])
    assert keyed(batch, rng=0)["b"].shape == (4, 4)


def test_its_own_p_and_epochs():
    assert sum(params.active for params in chosen(RandomChoice([Mixup()], p=0.3))) in range(240, 360)
    assert not any(params.active for params in chosen(RandomChoice([Mixup()], start_epoch=1), epoch=0))


def test_labels_have_one_form_whichever_part_was_chosen():
    choice = RandomChoice([Mixup(), RandomChoice([RICAP(), CutMix()]), Mixup(p=0.0)])
    for seed in range(20):
        target = choice((IMAGES, LABELS), rng=seed)[1]
        assert len(target.components) == 4
        torch.testing.assert_close(sum(weights for _, weights in target.components), torch.ones(4))


def test_parts_that_do_not_mix():
    target = RandomChoice([Cutout(length=3)])((IMAGES, LABELS), rng=0)[1]
    assert target is LABELS
    choice = RandomChoice([Mixup(), Cutout(length=3)])
    assert choice.mixes
    targets = [choice((IMAGES, LABELS), rng=seed)[1] for seed in range(8)]
    assert {len(target.components) for target in targets} == {2}
    assert any(torch.equal(target.components[0][1], torch.ones(4)) for target in targets)


def test_it_trains_without_the_warning_for_two_mixing_tricks(make_trainer):
    make_trainer(callbacks=[RandomChoice([Mixup(), CutMix()])]).fit(PlainModule(), image_loader())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tricks": []}, ValueError, "RandomChoice needs at least one trick, but got none"),
        ({"tricks": Mixup()}, TypeError, "RandomChoice needs a list of batch tricks, but got Mixup"),
        ({"tricks": ["Mixup"]}, TypeError, r"RandomChoice needs a list of batch tricks, but got \['Mixup'\]"),
        ({"tricks": [Mixup(seed=1)]}, ValueError, "RandomChoice cannot choose Mixup, which has the seed 1 of its own"),
        ({"tricks": [Mixup()], "input_key": 0}, ValueError, "RandomChoice needs input_key and target_key on its parts"),
        ({"tricks": [Mixup()], "weights": [1, 2]}, ValueError, "RandomChoice needs one weight for each of its 1 parts"),
        ({"tricks": [Mixup()], "weights": [-1]}, ValueError, "needs weights to be at least 0, but got -1"),
        ({"tricks": [Mixup()], "weights": [0]}, ValueError, r"RandomChoice needs a weight above 0, but got \[0\]"),
        (
            {"tricks": [Mixup()], "weights": 1},
            TypeError,
            "RandomChoice needs weights to be a list of numbers",
        ),
        ({"tricks": [Mixup()], "weights": ["1"]}, TypeError, "RandomChoice needs weights to be a number, but got '1'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        RandomChoice(**arguments)


@pytest.mark.parametrize(
    ("choice", "batch", "error", "message"),
    [
        (
            RandomChoice([CutMix(), Mixup()]),
            ((IMAGES * 255).byte(), LABELS),
            TypeError,
            "Mixup needs floating-point images",
        ),
        (
            RandomChoice([Mixup(), Cutout(length=30)]),
            (IMAGES, LABELS),
            ValueError,
            "Cutout needs .*cannot cover the whole image",
        ),
        (
            RandomChoice([Mixup(), Cutout(length=2, value=(1, 2))]),
            (IMAGES, LABELS),
            ValueError,
            "Cutout needs one value per channel",
        ),
        (
            RandomChoice([Mosaic(), RandomChoice([Mixup(), CutMix()])]),
            (IMAGES, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}] * 4),
            TypeError,
            "CutMix does not take detection targets",
        ),
    ],
)
def test_a_part_that_cannot_take_the_batch_says_so_before_it_is_chosen(choice, batch, error, message):
    for seed in range(12):
        with pytest.raises(error, match=message):
            choice(batch, rng=seed)


def test_a_part_that_is_never_chosen_need_not_take_the_batch():
    RandomChoice([Mixup(), Cutout(length=30)], weights=[1, 0])((IMAGES, LABELS), rng=0)


def test_smoothing_asks_for_class_labels_before_it_is_chosen():
    for seed in range(8):
        with pytest.raises(TypeError, match="LabelSmoothing needs class labels"):
            RandomChoice([LabelSmoothing(), Mixup()])((IMAGES, torch.rand(4, 3)), rng=seed)
