import pytest

from lightning_tricks.cli.names import unknown_name


@pytest.mark.parametrize("typed", ["mixpu", "Mixup", "mix_up"])
def test_the_nearest_is_suggested(typed):
    error = unknown_name("trick", typed, ["cutmix", "mixup", "ricap"], more=", or none")
    assert str(error) == f"there is no trick {typed!r}. Did you mean 'mixup'?"


def test_without_a_near_one_all_are_listed():
    error = unknown_name("data", "imagenet", ["digits", "cifar10"], more=", or a folder")
    assert isinstance(error, ValueError)
    assert str(error) == "there is no data 'imagenet'. There are: cifar10, digits, or a folder."
