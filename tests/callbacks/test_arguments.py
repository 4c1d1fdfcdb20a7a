"""What help, editors, config files and ``repr`` show of every callback's arguments."""

import inspect
import pydoc
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser
from torch import nn
from torchvision.transforms import v2

import lightning_tricks as lt
from lightning_tricks import *  # noqa: F403 - a printed callback is read again by eval
from tests.registry import BATCH_TRICKS, LABEL_TRICKS, Brightness

CLASSES = [getattr(lt, name) for name in [*lt.callbacks.__all__, "BatchPreview"]]
BATCH_CLASSES = [cls for cls in CLASSES if issubclass(cls, lt.BatchTrick)]
SHARED = list(inspect.signature(lt.BatchTrick).parameters)
PRINTED = [
    "Mixup(alpha=0.2)",
    "Mixup(alpha=1.0, per_sample=True, labels='dense', num_classes=10, p=0.5, seed=3)",
    "CutMix(alpha=1.0, start_epoch=2, stop_epoch=5, input_key='image', target_key=['label', ('more', 0)])",
    "RICAP(beta=0.3)",
    "Mosaic(center_range=(0.4, 0.6))",
    "Cutout(n_holes=1, length=0.5, value=(0.1, 0.2, 0.3))",
    "Cutout(n_holes=1, value=(0.1,))",
    "RandomErasing(p=0.25, value='random')",
    "LabelSmoothing(label_smoothing=0.1, spread='others')",
    "RandomChoice(tricks=[Mixup(alpha=0.2), CutMix(alpha=1.0)])",
    "RandomChoice(tricks=[Mixup(alpha=0.2), RandomChoice(tricks=[RICAP(beta=0.3)])], weights=[1, 3], p=0.5)",
    "GradualWarmup(epochs=5)",
    "GradualWarmup(steps=4, hold_scheduler=True)",
    "GradualWarmup(epochs=2.5, start_factor=0.1)",
    "ConstantWarmup(factor=0.1, epochs=2)",
    "ConstantWarmup(factor=0.2, steps=9, monitor='acc', threshold=0.5, mode='min')",
    "StepDecay(every_epochs=30)",
    "StepDecay(every_steps=7, gamma=0.5)",
    "StepDecay(milestones=[30.0, 60.0])",
    "CosineDecay(min_factor=0.1, total_steps=90)",
    "PolynomialDecay(power=2.0)",
    "LinearScaling(base_batch_size=256, rule='sqrt')",
    "BatchPreview(every_n_epochs=None)",
    "BatchPreview(every_n_epochs=2, max_images=3, mean=(0.5,), std=[0.25], class_names=['cat', 'dog'])",
]


@pytest.mark.parametrize("cls", BATCH_CLASSES)
def test_signature_and_help_show_the_shared_keywords_and_their_defaults(cls):
    parameters = inspect.signature(cls).parameters
    assert set(SHARED) <= set(parameters)
    assert not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    shown = pydoc.plain(pydoc.render_doc(cls)).partition(" |  ")[2].partition("\n")[0]
    assert all(f"{name}: " in shown for name in SHARED)


@pytest.mark.parametrize("cls", BATCH_CLASSES)
def test_a_parser_shows_the_shared_keywords_with_their_defaults_and_descriptions(cls, capsys):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--trick", type=lt.BatchTrick)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--trick.help=lightning_tricks.{cls.__name__}"])
    shown = capsys.readouterr().out
    assert f"(type: float, default: {0.5 if cls is lt.RandomErasing else 1.0})" in shown.replace("\n" + " " * 24, " ")
    assert "torch's initial seed" in shown
    options = {name: line for line in shown.splitlines() for name in SHARED if line.startswith(f"  --trick.{name} ")}
    assert set(options) >= {"p", "start_epoch", "stop_epoch", "seed"}


def test_a_config_keeps_the_defaults_and_takes_the_shared_keywords():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=list[lt.BatchTrick])
    arguments = {"class_path": "lightning_tricks.Mixup", "init_args": {"p": 0.5, "labels": "sample"}}
    config = parser.parse_object({"callbacks": [arguments]})
    assert config.callbacks[0].init_args.as_dict() == {
        "alpha": 0.2, "per_sample": False, "labels": "sample", "num_classes": None, "p": 0.5, "start_epoch": 0,
        "stop_epoch": None, "input_key": None, "target_key": None, "ignore_keys": None, "seed": None,
    }  # fmt: skip
    assert repr(parser.instantiate(config).callbacks) == "[Mixup(alpha=0.2, labels='sample', p=0.5)]"


@pytest.mark.parametrize(
    ("name", "arguments", "printed"),
    [
        ("GradualWarmup", {"steps": 4}, "GradualWarmup(steps=4)"),
        ("GradualWarmup", {"epochs": None, "steps": 4}, "GradualWarmup(steps=4)"),
        ("GradualWarmup", {}, "GradualWarmup(epochs=5.0)"),
        ("StepDecay", {"every_steps": 4}, "StepDecay(every_steps=4)"),
        ("StepDecay", {"milestones": [1, 2]}, "StepDecay(milestones=[1.0, 2.0])"),
        ("StepDecay", {}, "StepDecay(every_epochs=30.0)"),
    ],
)
def test_a_length_takes_the_place_of_the_default_one_also_in_a_saved_config(name, arguments, printed):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--trick", type=lt.LRTrick)
    config = parser.parse_object({"trick": {"class_path": f"lightning_tricks.{name}", "init_args": arguments}})
    again = parser.parse_string(parser.dump(config))
    assert repr(parser.instantiate(again).trick) == printed


@pytest.mark.parametrize("cls", [lt.GradualWarmup, lt.StepDecay])
def test_no_length_at_all_is_refused(cls):
    with pytest.raises(ValueError, match=rf"{cls.__name__} needs (either|one of) .*epochs=None"):
        cls(None)


@pytest.mark.parametrize("printed", PRINTED)
def test_repr_can_be_read_again(printed):
    made = eval(printed)
    assert repr(made) == printed
    assert repr(eval(repr(made))) == printed


@pytest.mark.parametrize("make", (BATCH_TRICKS | LABEL_TRICKS).values(), ids=(BATCH_TRICKS | LABEL_TRICKS).keys())
def test_repr_of_every_batch_trick_is_one_line_without_addresses(make):
    text = repr(make(p=0.5))
    assert text.startswith(f"{make().name}(")
    assert "p=0.5" in text
    assert not any(wrong in text for wrong in ("\n", " at 0x"))
    if make().name not in ("Augment", "Distillation"):
        made = eval(text)
        assert made.arguments() == make(p=0.5).arguments() or repr(made) == text


def test_every_callback_is_printed_by_the_tests():
    printed = {line.partition("(")[0] for line in PRINTED} | {"Augment", "Distillation"}
    assert printed == {cls.__name__ for cls in CLASSES if not inspect.isabstract(cls)} - {"BatchTrick", "LRTrick"}


def crop(images):
    return images


@pytest.mark.parametrize(
    ("made", "printed"),
    [
        (lambda: lt.Distillation(nn.Sequential(nn.Flatten(), nn.Linear(2, 2))),
         "Distillation(teacher=Sequential(...))"),
        (lambda: lt.Distillation([Brightness(), nn.Sequential(nn.Identity())], weight=0.5),
         "Distillation(teacher=[Brightness(), Sequential(...)], weight=0.5)"),
        (lambda: lt.Augment(v2.RandomHorizontalFlip(p=0.5)), "Augment(transform=RandomHorizontalFlip(p=0.5))"),
        (lambda: lt.Augment(v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])),
         "Augment(transform=Compose(...))"),
        (lambda: lt.Augment(crop, per_sample=False), "Augment(transform=crop, per_sample=False)"),
        (lambda: lt.Mixup(input_key=(crop, crop)), "Mixup(alpha=0.2, input_key=(crop, crop))"),
        (lambda: lt.BatchPreview(mean=[0.5], std=[0.5], directory=Path("x")),
         f"BatchPreview(every_n_epochs=None, mean=[0.5], std=[0.5], directory={Path('x')!r})"),
    ],
)  # fmt: skip
def test_repr_names_modules_and_functions(made, printed):
    assert repr(made()) == printed


def test_the_reference_writes_out_the_shared_keywords():
    griffe = pytest.importorskip("griffe")
    root = Path(__file__).parents[2]
    extensions = griffe.load_extensions(str(root / "docs" / "docstrings.py"))
    package = griffe.load(
        "lightning_tricks", search_paths=[root], extensions=extensions, docstring_parser="google", resolve_aliases=False
    )
    for cls in BATCH_CLASSES:
        documented = package[cls.__module__.partition(".")[2]][cls.__name__]
        (section,) = [part for part in documented.docstring.parsed if part.kind.value == "parameters"]
        arguments = [name for name in inspect.signature(cls).parameters if name != "unnamed"]
        assert [it.name for it in section.value] == arguments
        assert {it.name for it in documented["__init__"].parameters} - {"self", "unnamed"} == set(arguments)
