"""Bad constructions and bad batches: each gets the right exception, which names the trick, the need and what came."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader
from torchvision import tv_tensors

import lightning_tricks as lt
from lightning_tricks.engine.fields import describe
from tests.plain import PlainModule, image_loader
from tests.registry import TRICKS as REGISTRY

NOT_A_NUMBER = [None, "1", True, [1.0], 1j, object()]
TEACHER = torch.nn.Identity()
NOT_A_PAIR = [1.0, None, (1.0,), (0.1, 0.2, 0.3)]


def number(cls, argument, out_of_range, **others):
    """Wrong types and values out of range for one argument."""
    wrong = [(value, TypeError) for value in NOT_A_NUMBER]
    wrong += [(value, ValueError) for value in (*out_of_range, math.nan, math.inf)]
    return [(cls, {**others, argument: value}, error, argument) for value, error in wrong]


def integer(cls, argument, out_of_range, *, optional=False, **others):
    wrong = [(value, TypeError) for value in [*NOT_A_NUMBER, 1.5, math.nan] if not (optional and value is None)]
    wrong += [(value, ValueError) for value in out_of_range]
    return [(cls, {**others, argument: value}, error, argument) for value, error in wrong]


def choice(cls, argument, **others):
    return [(cls, {**others, argument: value}, ValueError, argument) for value in ("", "SOFT", "both")] + [
        (cls, {**others, argument: value}, TypeError, argument) for value in (None, 1, ["soft"])
    ]


def flag(cls, argument, **others):
    return [(cls, {**others, argument: value}, TypeError, argument) for value in (None, 1, 0.0, "yes")]


CONSTRUCTIONS = [
    *number(lt.Mixup, "alpha", [-0.1]),
    *flag(lt.Mixup, "per_sample"),
    *choice(lt.Mixup, "labels"),
    *integer(lt.Mixup, "num_classes", [0, -3], optional=True, labels="dense"),
    *number(lt.Mixup, "p", [-0.1, 1.1]),
    *integer(lt.Mixup, "start_epoch", [-1]),
    *integer(lt.Mixup, "stop_epoch", [-1, 0], optional=True),
    *integer(lt.Mixup, "seed", [-1], optional=True),
    *number(lt.CutMix, "alpha", [-1]),
    *flag(lt.CutMix, "per_sample"),
    *choice(lt.CutMix, "labels"),
    *number(lt.RICAP, "beta", [0, -0.3]),
    *number(lt.Mosaic, "min_box_size", [-1]),
    *integer(lt.Cutout, "n_holes", [0, -1]),
    *[case for case in number(lt.Cutout, "value", []) if not isinstance(case[1]["value"], list)],
    *number(lt.RandomErasing, "p", [-1, 2]),
    *choice(lt.RandomErasing, "ratio_sampling"),
    *flag(lt.Augment, "per_sample", transform=torch.nn.Identity()),
    *[(lt.Mosaic, {"center_range": value}, TypeError, "center_range") for value in NOT_A_PAIR],
    *[(lt.RandomErasing, {"scale": value}, TypeError, "scale") for value in NOT_A_PAIR],
    *[(lt.RandomErasing, {"ratio": value}, TypeError, "ratio") for value in NOT_A_PAIR],
    *[(lt.Cutout, {"length": value}, TypeError, "length") for value in (None, "16", True, [16])],
    *[(lt.Cutout, {"length": value}, ValueError, "length") for value in (0, -1, 0.0, 1.0, math.nan)],
    *[(lt.Augment, {"transform": value}, TypeError, "transform") for value in (None, "flip", 3)],
    *number(lt.LabelSmoothing, "label_smoothing", [-0.1, 1.0]),
    *choice(lt.LabelSmoothing, "spread"),
    *number(lt.LabelSmoothingMixin, "label_smoothing", [-0.1, 1.0]),
    *number(lt.Distillation, "temperature", [0, -1], teacher=TEACHER),
    *number(lt.Distillation, "weight", [-1], teacher=TEACHER),
    *flag(lt.Distillation, "kl", teacher=TEACHER),
    *[(lt.RandomChoice, {"tricks": value}, TypeError, "tricks") for value in (None, lt.Mixup(), [1], "Mixup")],
    (lt.RandomChoice, {"tricks": []}, ValueError, "trick"),
    *number(lt.GradualWarmup, "epochs", [-1])[1:],
    *integer(lt.GradualWarmup, "steps", [-1], optional=True),
    *number(lt.GradualWarmup, "multiplier", [0.5, -1], steps=3),
    *number(lt.GradualWarmup, "start_factor", [-0.1, 1.1], steps=3)[1:],
    *flag(lt.GradualWarmup, "hold_scheduler", steps=3),
    *number(lt.ConstantWarmup, "factor", [-0.1, 0], steps=3),
    *number(lt.ConstantWarmup, "epochs", [-1])[1:],
    *[(lt.ConstantWarmup, {"steps": 3, "mode": value}, ValueError, "mode") for value in ("", "up")],
    *number(lt.CosineDecay, "min_factor", [-0.1, 1.1]),
    *integer(lt.CosineDecay, "total_steps", [0, -1], optional=True),
    *number(lt.PolynomialDecay, "power", [-1, 0]),
    *number(lt.PolynomialDecay, "min_factor", [-0.1, 1.1]),
    *integer(lt.PolynomialDecay, "total_steps", [0, -1], optional=True),
    *number(lt.StepDecay, "gamma", [-0.1, 1.5], every_steps=3),
    *number(lt.StepDecay, "every_epochs", [0, -1])[1:],
    *integer(lt.StepDecay, "every_steps", [0, -1], optional=True),
    *integer(lt.LinearScaling, "base_batch_size", [0, -1]),
    *integer(lt.LinearScaling, "batch_size", [0, -1], optional=True),
    *choice(lt.LinearScaling, "rule"),
]


def identify(case):
    cls, arguments, _, argument = case
    return re.sub(" object at 0x[0-9a-f]+", "", f"{cls.__name__}-{argument}-{arguments.get(argument)}")


def test_the_table_is_as_long_as_it_should_be():
    assert len(CONSTRUCTIONS) + len(BATCHES) * 4 >= 150


def test_every_trick_is_in_the_table():
    assert {type(make()) for make in REGISTRY.values()} <= {cls for cls, *_ in CONSTRUCTIONS}


@pytest.mark.parametrize(("cls", "arguments", "error", "argument"), CONSTRUCTIONS, ids=map(identify, CONSTRUCTIONS))
def test_bad_constructions(cls, arguments, error, argument):
    with pytest.raises(error) as raised:
        cls(**arguments)
    message = str(raised.value)
    value = arguments.get(argument, "none")
    assert type(raised.value) is error
    assert message.startswith(cls.__name__), message
    assert argument in message
    assert "need" in message
    assert any(form in message for form in (repr(value), str(value), "none"))


IMAGES, LABELS = torch.rand(4, 3, 8, 6), torch.arange(4)
BATCHES = {
    "no images": {"picture": IMAGES, "label": LABELS},
    "two entries that could be it": {"image": IMAGES, "x": IMAGES, "label": LABELS},
    "a string": "batch",
    "a number": 3,
    "an array": (np.zeros((4, 3, 8, 6)), LABELS),
    "images that are a list of numbers": ([1, 2, 3], LABELS),
    "an empty tuple": (),
    "an empty dict": {},
    "images without batch dimension": (torch.rand(6), LABELS),
    "complex images": (torch.zeros(4, 3, 8, 6, dtype=torch.complex64), LABELS),
    "bool images": (torch.zeros(4, 3, 8, 6, dtype=torch.bool), LABELS),
}
TARGETS = {
    "too few labels": LABELS[:3],
    "one label for all": torch.tensor(1),
    "strings": ["a", "b", "c", "d"],
    "an array": np.arange(4),
    "bools": torch.zeros(4, 5, dtype=torch.bool),
    "complex numbers": torch.zeros(4, dtype=torch.complex64),
    "a dict with a string": {"label": LABELS, "path": "a.png"},
    "an object": object(),
    "another batch size in a list": [LABELS, torch.rand(5, 2)],
}
TRICKS = {
    "Mixup": lambda: lt.Mixup(alpha=1.0),
    "CutMix": lambda: lt.CutMix(),
    "RICAP": lambda: lt.RICAP(beta=1.0),
    "Mosaic": lambda: lt.Mosaic(),
}


WHOLE = [
    pytest.param(batch if isinstance(batch, tuple) and len(batch) == 2 else (batch, None), id=name)
    for name, batch in BATCHES.items()
]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("parts", WHOLE + [pytest.param((IMAGES, part), id=name) for name, part in TARGETS.items()])
def test_bad_batches_leave_no_trace(make_trainer, trick, parts):
    batch = parts[0] if parts[1] is None else parts
    can_cut = trick in ("CutMix", "RICAP") and isinstance(parts[0], torch.Tensor)
    if can_cut and parts[0].dtype in (torch.bool, torch.complex64):
        return  # a box of any dtype can be cut
    module = PlainModule()
    trainer = make_trainer(callbacks=[TRICKS[trick](), lt.GradualWarmup(steps=1)])
    loader = DataLoader([0], collate_fn=lambda samples: batch)
    with pytest.raises((TypeError, ValueError), match=f"^{trick}"):
        trainer.fit(module, loader)
    assert "training_step" not in vars(module)
    optimizer = trainer.optimizers[0]
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


NUMBERS = [True, -1, 0, 1, 3, 0.5, 1.5, -0.5, math.nan, math.inf, 10**400, 1j, torch.tensor(1), np.float32(0.5)]
WORDS = ["", "soft", "dense", "random", "log", "loss", "min", b"x"]
CONTAINERS = [(), (0.1, 0.9), (1, 2), [], [1.0], {}, [lt.Mixup()], ["a"], (0, None)]
JUNK = st.sampled_from([*NUMBERS, *WORDS, *CONTAINERS, None, int, len, lt.Mixup()])
ARGUMENTS = {
    lt.Mixup: ["alpha", "per_sample", "labels", "num_classes", "p", "start_epoch", "stop_epoch", "input_key", "seed"],
    lt.CutMix: ["alpha", "per_sample", "labels", "num_classes", "target_key"],
    lt.RICAP: ["beta", "labels", "num_classes", "p"],
    lt.Mosaic: ["center_range", "min_box_size", "labels"],
    lt.Cutout: ["n_holes", "length", "value", "p"],
    lt.RandomErasing: ["p", "scale", "ratio", "value", "ratio_sampling"],
    lt.Augment: ["transform", "per_sample", "p"],
    lt.LabelSmoothing: ["label_smoothing", "spread", "p"],
    lt.Distillation: ["teacher", "temperature", "weight", "kl", "p"],
    lt.RandomChoice: ["tricks", "weights", "p", "input_key"],
    lt.GradualWarmup: ["epochs", "steps", "start_factor", "multiplier", "hold_scheduler"],
    lt.ConstantWarmup: ["factor", "epochs", "steps", "monitor", "threshold", "mode"],
    lt.CosineDecay: ["min_factor", "total_steps"],
    lt.PolynomialDecay: ["power", "min_factor", "total_steps"],
    lt.StepDecay: ["every_epochs", "every_steps", "gamma", "milestones"],
    lt.LinearScaling: ["base_batch_size", "rule", "batch_size"],
}


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_constructor_raises_what_is_not_ours(data):
    cls = data.draw(st.sampled_from(sorted(ARGUMENTS, key=lambda cls: cls.__name__)))
    names = data.draw(st.lists(st.sampled_from(ARGUMENTS[cls]), unique=True))
    required = [name for name in ("transform", "tricks", "teacher") if name in ARGUMENTS[cls] and name not in names]
    arguments = {name: data.draw(JUNK) for name in [*names, *required]}
    before = {key: len(value) for key, value in arguments.items() if isinstance(value, list | dict)}
    error = raised_by(lambda: cls(**arguments))
    assert error is None or str(error).startswith(cls.__name__), f"{arguments}: {error}"
    assert all(len(arguments[key]) == length for key, length in before.items())


def raised_by(call):
    """The exception of a kind that is ours; others pass through."""
    try:
        call()
    except (TypeError, ValueError) as error:
        return error
    return None


IMAGE_LIKE = [IMAGES, IMAGES.half(), (IMAGES * 255).to(torch.uint8), IMAGES[:0], IMAGES[:1], IMAGES[:, :0], IMAGES[0]]
LABEL_LIKE = [LABELS, LABELS.bool(), LABELS.float(), torch.rand(4, 5), torch.randint(3, (4, 8, 6)), torch.tensor(3)]
OTHERS = [None, "text", 3, np.zeros(4), {"boxes": torch.rand(2, 4)}, torch.zeros(4, 3, 0, 6)]
ELSEWHERE = [IMAGES.to("meta"), LABELS.to("meta"), IMAGES.to_sparse(), tv_tensors.Mask(torch.randint(3, (4, 8, 6)))]
DETECTION = [[{"boxes": boxes, "labels": LABELS[:2]}] * 4 for boxes in (torch.rand(2, 4), [[0, 0, 1, 1]] * 2, None)]
LEAF = st.sampled_from([*IMAGE_LIKE, *LABEL_LIKE, *OTHERS, *ELSEWHERE, *DETECTION, DETECTION[0][:3]])
KEYS = st.sampled_from(["image", "images", "x", "label", "target", "y", "id"])
LISTS = [st.lists, lambda inner, **size: st.lists(inner, **size).map(tuple)]
STRUCTURE = st.recursive(
    LEAF,
    lambda inner: st.one_of(*(make(inner, max_size=3) for make in LISTS), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=5,
)


@pytest.mark.filterwarnings("ignore:.* leaves alone what stands beside it")
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_batch_raises_what_is_not_ours(data):
    name = data.draw(st.sampled_from(["Mixup", "CutMix", "RICAP", "Mosaic", "Cutout", "RandomErasing"]))
    trick = TRICKS.get(name, {"Cutout": lambda: lt.Cutout(length=3), "RandomErasing": lt.RandomErasing}.get(name))()
    batch = data.draw(STRUCTURE | st.tuples(LEAF, LEAF) | st.tuples(st.just(IMAGES), STRUCTURE))
    error = raised_by(lambda: trick(batch, rng=0))
    assert error is None or str(error).startswith(name), f"{describe(batch)}: {error}"


@pytest.mark.parametrize(
    ("tricks", "message"),
    [
        ([lt.CosineDecay(), lt.StepDecay(every_steps=2)], "CosineDecay"),
        ([lt.LinearScaling(batch_size=8), lt.GradualWarmup(steps=2, multiplier=4.0)], "LinearScaling|GradualWarmup"),
    ],
)
def test_bad_wiring(make_trainer, tricks, message):
    module = PlainModule()
    with pytest.raises(MisconfigurationException, match=message):
        make_trainer(callbacks=tricks).fit(module, image_loader())
    assert "training_step" not in vars(module)
