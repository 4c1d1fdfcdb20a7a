import math
from fractions import Fraction

import numpy as np
import pytest

from lightning_tricks.functional.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    named,
    unknown_name,
)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int64(1), Fraction(1, 2)])
def test_a_number_in_range_comes_back_as_a_float(value):
    checked = check_number("Owner", "p", value, low=0, high=1)
    assert type(checked) is float
    assert checked == value


@pytest.mark.parametrize("value", [True, "0.5", None, [0.5], 1j])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"Owner needs p to be a number, but got .* of type"):
        check_number("Owner", "p", value)


@pytest.mark.parametrize(
    ("value", "limits", "need"),
    [
        (-0.1, {"low": 0}, "at least 0"),
        (1.1, {"low": 0, "high": 1}, "at least 0 and at most 1"),
        (0.0, {"above": 0}, "above 0"),
        (1.0, {"low": 0, "below": 1}, "at least 0 and below 1"),
        (math.nan, {"low": 0}, "at least 0"),
        (math.inf, {}, "finite"),
        pytest.param(10**400, {"low": 0}, "at least 0", id="beyond every float"),
    ],
)
def test_a_number_out_of_range_is_a_value_error(value, limits, need):
    with pytest.raises(ValueError, match=f"Owner needs p to be {need}, but got {value}"):
        check_number("Owner", "p", value, **limits)


def test_integers():
    assert check_integer("Owner", "seed", np.int64(3), low=0) == 3
    with pytest.raises(TypeError, match=r"Owner needs seed to be an integer, but got 1.0 of type float"):
        check_integer("Owner", "seed", 1.0, low=0)
    with pytest.raises(TypeError, match="got True of type bool"):
        check_integer("Owner", "seed", True, low=0)
    with pytest.raises(ValueError, match="Owner needs seed to be at least 0, but got -1"):
        check_integer("Owner", "seed", -1, low=0)


def test_choices():
    assert check_choice("Owner", "labels", "soft", ("soft", "dense")) == "soft"
    with pytest.raises(ValueError, match="Owner needs labels to be one of 'soft', 'dense', but got 'hard'"):
        check_choice("Owner", "labels", "hard", ("soft", "dense"))
    with pytest.raises(ValueError, match=r"but got 'Sofft'\. Did you mean 'soft'\?"):
        check_choice("Owner", "labels", "Sofft", ("soft", "dense"))
    with pytest.raises(TypeError, match=r"but got 3\."):
        check_choice("Owner", "labels", 3, ("soft", "dense"))


@pytest.mark.parametrize("typed", ["mixpu", "Mixup", "mix_up"])
def test_for_an_unknown_name_the_nearest_is_suggested(typed):
    error = unknown_name("trick", typed, ["cutmix", "mixup", "ricap"], more=", or none")
    assert str(error) == f"there is no trick {typed!r}. Did you mean 'mixup'?"


def test_for_an_unknown_name_without_a_near_one_all_are_listed():
    error = unknown_name("data", "imagenet", ["digits", "cifar10"], more=", or a folder")
    assert isinstance(error, ValueError)
    assert str(error) == "there is no data 'imagenet'. There are: cifar10, digits, or a folder."


def test_flags():
    assert check_flag("Owner", "per_sample", True) is True
    with pytest.raises(TypeError, match="Owner needs per_sample to be True or False, but got 1 of type int"):
        check_flag("Owner", "per_sample", 1)


@pytest.mark.parametrize("kind", [TypeError, ValueError])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cutout_boxes needs length to be at least 1, but got 0.", "Cutout needs length to be at least 1, but got 0."),
        ("Cutout needs images, but got 3.", "Cutout needs images, but got 3."),
        ("could not convert string to float", "Cutout: could not convert string to float"),
    ],
)
def test_errors_of_a_function_name_the_callback_that_calls_it(kind, text, expected):
    with pytest.raises(kind) as caught, named("Cutout"):
        raise kind(text)
    assert str(caught.value) == expected
    assert type(caught.value) is kind


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match=r"^cutout needs memory$"), named("Cutout"):
        raise RuntimeError("cutout needs memory")
