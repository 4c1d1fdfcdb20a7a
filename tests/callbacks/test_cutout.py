import re

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import LightningArgumentParser

from lightning_tricks import Cutout


def erased(trick, images, rng=0):
    return (trick((images, torch.zeros(len(images))), rng=rng)[0] != images).all(1)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7])
def test_a_hole_that_is_not_clipped_has_exactly_its_area(length):
    counts = erased(Cutout(length=length), torch.ones(200, 3, 20, 30)).sum((1, 2))
    assert counts.max() == length**2
    assert (counts == length**2).float().mean() > 0.4


def test_a_float_length_is_a_share_of_the_shorter_side():
    assert erased(Cutout(length=0.25), torch.ones(200, 3, 20, 30)).sum((1, 2)).max() == 25


@pytest.mark.parametrize("n_holes", [1, 3])
def test_each_image_has_its_own_holes(n_holes):
    trick = Cutout(n_holes=n_holes, length=1)
    masks = erased(trick, torch.ones(50, 3, 20, 30))
    assert masks.sum((1, 2)).max() == n_holes
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 40


def test_centers_are_uniform_up_to_the_border():
    counts = erased(Cutout(length=1), torch.ones(20_000, 1, 5, 8)).sum(0)
    assert ((counts - 500).abs() < 4 * (20_000 * (1 / 40) * (39 / 40)) ** 0.5).all()


@pytest.mark.parametrize(("value", "expected"), [(7.0, [7, 7, 7]), ((1.5, 2.5, 3.5), [1.5, 2.5, 3.5])])
def test_the_fill_value(value, expected):
    images = torch.zeros(4, 3, 20, 30)
    result = Cutout(length=5, value=value)((images, None), rng=0)[0]
    pixel = result[0][:, (result[0] != 0).any(0)][:, 0]
    assert pixel.tolist() == expected


def test_labels_and_masks_stay():
    target = {"label": torch.arange(2), "mask": torch.zeros(2, 20, 30)}
    assert Cutout(length=5)((torch.ones(2, 3, 20, 30), target), rng=0)[1] is target


@pytest.mark.parametrize(("length", "size"), [(16, (8, 8)), (8, (8, 8)), (20, (12, 20))])
def test_a_hole_that_covers_the_image_is_refused_with_both_sizes(length, size):
    message = rf"^Cutout needs .*holes of {length}×{length} pixels for images of {size[0]}×{size[1]}"
    with pytest.raises(ValueError, match=message):
        Cutout(length=length)((torch.ones(2, 3, *size), None))


def test_values_that_do_not_fit_the_images():
    with pytest.raises(ValueError, match=r"^Cutout needs one value per channel, but got 2"):
        Cutout(length=3, value=(1, 2))((torch.ones(2, 3, 8, 6), None))
    with pytest.raises(ValueError, match=r"needs whole numbers in 0\.\.255 for torch\.uint8, but got 0\.5"):
        Cutout(length=3, value=0.5)((torch.ones(2, 3, 8, 6, dtype=torch.uint8), None))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_holes": 0}, ValueError, "Cutout needs n_holes to be at least 1"),
        ({"n_holes": 1.5}, TypeError, "Cutout needs n_holes to be an integer"),
        ({"length": 0}, ValueError, "Cutout needs length to be at least 1"),
        ({"length": 1.0}, ValueError, "Cutout needs a float length to be above 0 and below 1"),
        ({"length": "16"}, TypeError, "Cutout needs length to be an integer"),
        ({"value": "black"}, TypeError, "Cutout needs value to be a number, but got 'black'"),
        ({"value": ()}, ValueError, "Cutout needs value to be a number or one number per channel"),
        ({"value": (1, None)}, TypeError, "Cutout needs value to be a number, but got None"),
        ({"value": np.nan}, ValueError, "Cutout needs value to be finite"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Cutout(**arguments)


@pytest.mark.parametrize("arguments", [(16,), (1, 16), (0.5,), ("16", 1, 0.0)])
def test_an_argument_without_its_name_is_refused(arguments):
    given = re.escape(", ".join(map(repr, arguments)))
    with pytest.raises(
        TypeError, match=rf"^Cutout needs its arguments by name, but got {given}; write Cutout\(length="
    ):
        Cutout(*arguments)


def test_a_configuration_sets_every_argument():
    parser = LightningArgumentParser()
    parser.add_argument("--trick", type=Cutout)
    init_args = {"n_holes": 2, "length": 3, "value": 0.5, "p": 0.25}
    trick = parser.instantiate(parser.parse_object({"trick": {"class_path": "Cutout", "init_args": init_args}})).trick
    assert {name: getattr(trick, name) for name in init_args} == init_args
