import pytest
from lightning.pytorch import Callback
from torch import nn

import lightning_tricks
from lightning_tricks import Cutout, GradualWarmup, RandomChoice, StepDecay
from lightning_tricks.cli.tricks import DEFAULT_TRICKS, TRICKS, make_callbacks, module_options, parse_tricks

LEFT_OUT = {"BatchTrick", "LRTrick", "BatchPreview"}  # two bases, and one that changes nothing


def kinds():
    """The classes of all callbacks that the names stand for, the parts of choices included."""
    made = [callback for trick in TRICKS.values() for callback in trick.callbacks(10)]
    made += [
        callback
        for trick in TRICKS.values()
        if trick.callbacks_with_teacher
        for callback in trick.callbacks_with_teacher(nn.Identity())
    ]
    parts = [part for callback in made if isinstance(callback, RandomChoice) for part in callback.tricks]
    return {type(callback).__name__ for callback in (*made, *parts)}


def test_every_public_callback_has_a_name_or_is_left_out():
    public = {
        name
        for name in lightning_tricks.__all__
        if isinstance(value := getattr(lightning_tricks, name), type) and issubclass(value, Callback)
    }
    assert public == kinds() | LEFT_OUT
    assert not kinds() & LEFT_OUT


def test_every_name_does_something():
    for trick in TRICKS.values():
        assert bool(trick.callbacks(10)) + bool(trick.module) + bool(trick.callbacks_with_teacher) == 1
        assert trick.summary


def test_lengths_are_shares_of_the_run():
    (warmup,), (step,), (cutout,) = (make_callbacks([name], 60) for name in ("warmup", "step", "cutout"))
    assert isinstance(warmup, GradualWarmup)
    assert warmup.epochs == 6
    assert isinstance(step, StepDecay)
    assert step.every_epochs == 20
    assert isinstance(cutout, Cutout)
    assert cutout.length == 0.5


def test_several_together_keep_their_order():
    callbacks = make_callbacks(["cutmix", "no_bias_decay", "mixup"], 10)
    assert [type(callback).__name__ for callback in callbacks] == ["CutMix", "Mixup"]
    assert module_options(["adabound", "mixup", "no_bias_decay"]) == {"optimizer": "adabound", "bias_decay": False}


def test_names_are_checked():
    assert parse_tricks(" mixup, cosine,") == ["mixup", "cosine"]
    assert parse_tricks(",".join(DEFAULT_TRICKS)) == list(DEFAULT_TRICKS)
    with pytest.raises(ValueError, match=r"there is no trick 'cosin'\. Did you mean 'cosine'\?"):
        parse_tricks("mixup,cosin")
    with pytest.raises(ValueError, match="the trick 'mixup' is named 2 times"):
        parse_tricks("mixup,cosine,mixup")
    with pytest.raises(ValueError, match="no trick is named"):
        parse_tricks(",")
