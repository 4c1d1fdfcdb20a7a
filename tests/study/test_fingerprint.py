import dataclasses
import enum
import importlib.util
import json
import logging
import math
import shutil
import subprocess
import sys
import textwrap
import threading
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import callbacks as pl_callbacks
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torchvision.transforms import v2

from lightning_tricks import Augment, CosineDecay, CutMix, Distillation, Mixup, RandomChoice, StepDecay
from lightning_tricks.study import Ablation
from lightning_tricks.study.fingerprint import describe, settled, without_source
from lightning_tricks.study.runs.store import difference
from tests.study.small import Data, Module


def outer(lr):
    return lambda: Module(lr=lr)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    layers: list = dataclasses.field(default_factory=list)


class Slotted:
    __slots__ = ("lr",)

    def __init__(self, lr):
        self.lr = lr


class Factory:
    def __init__(self, lr):
        self._rate = lr

    def __call__(self):
        return Module(lr=self._rate)

    def other(self):
        return Module()


def net(seed=0, slope=0.1, **attributes):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.LeakyReLU(slope))
    vars(made[1]).update(attributes)
    return made


PAIRS = {
    "weight of the distillation": (Distillation(net(), weight=1), Distillation(net(), weight=100)),
    "temperature": (Distillation(net(), temperature=4.0), Distillation(net(), temperature=2.0)),
    "teachers' weights": (Distillation(net(0)), Distillation(net(1))),
    "teachers' attributes": (net(temperature=1.0), net(temperature=2.0)),
    "teachers' layers": (net(slope=0.1), net(slope=0.2)),
    "decay of EMA": (
        pl_callbacks.EMAWeightAveraging(decay=0.9),
        pl_callbacks.EMAWeightAveraging(decay=0.99),
    ),
    "rates of SWA": (
        pl_callbacks.StochasticWeightAveraging(swa_lrs=0.1),
        pl_callbacks.StochasticWeightAveraging(swa_lrs=0.2),
    ),
    "averaged buffers": (pl_callbacks.WeightAveraging(), pl_callbacks.WeightAveraging(use_buffers=False)),
    "checkpoints": (pl_callbacks.ModelCheckpoint(), pl_callbacks.ModelCheckpoint(every_n_epochs=2)),
    "patience": (
        pl_callbacks.EarlyStopping("loss"),
        pl_callbacks.EarlyStopping("loss", patience=5),
    ),
    "accumulation": (
        pl_callbacks.GradientAccumulationScheduler({0: 1}),
        pl_callbacks.GradientAccumulationScheduler({0: 2}),
    ),
    "strategies": (DDPStrategy(), DDPStrategy(find_unused_parameters=True)),
    "transforms": (Augment(v2.RandomRotation(5)), Augment(v2.RandomRotation(6))),
    "operators": (lambda a, b: a + b, lambda a, b: a - b),
    "private values": (Factory(0.1), Factory(0.2)),
    "methods of an object": (Factory(0.1).other, Factory(0.2).other),
    "an object's methods": (Factory(0.1).other, Factory(0.1).__call__),
    "slots": (Slotted(0.1), Slotted(0.2)),
    "dataclasses": (Settings(), Settings(lr=0.2)),
    "dataclasses' lists": (Settings(), Settings(layers=[1])),
    "enumerations": (Colour.RED, Colour.BLUE),
    "an enumeration and its value": (Colour.RED, 1),
    "whole and floating numbers": (1, 1.0),
    "numbers and truth": (1, True),
    "not a number": (math.nan, None),
    "tensors": (torch.zeros(3), torch.ones(3)),
    "tensors' types": (torch.zeros(3), torch.zeros(3, dtype=torch.float64)),
    "tensors' shapes": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "half precision": (torch.zeros(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16)),
    "sparse tensors": (torch.eye(2).to_sparse(), torch.ones(2, 2).to_sparse()),
    "arrays": (np.zeros(3), np.ones(3)),
    "arrays of objects": (np.array([1, "a"], dtype=object), np.array([2, "a"], dtype=object)),
    "numpy's numbers": (np.float32(0.1), np.float32(0.2)),
    "types": (torch.float32, torch.float16),
    "long lists": (list(range(2000)), list(range(1, 2001))),
    "keyword defaults": (lambda *, lr=0.1: lr, lambda *, lr=0.2: lr),
    "partials of partials": (partial(partial(Module), lr=0.1), partial(partial(Module), lr=0.2)),
    "keys": ({1: "a"}, {2: "a"}),
    "sets in sets": ({frozenset({1})}, {frozenset({2})}),
    "numbers": (0.1, 0.2),
    "kinds": (1, "1"),
    "paths": (Path("a"), Path("b")),
    "partials": (partial(Module, lr=0.1), partial(Module, lr=0.2)),
    "partials' positions": (partial(Module, 0.1), partial(Module, 0.2)),
    "classes": (Module, Data),
    "callbacks' arguments": ([Mixup(alpha=0.2)], [Mixup(alpha=0.3)]),
    "callbacks' kinds": ([CosineDecay()], [StepDecay(every_epochs=3)]),
    "callbacks inside": (RandomChoice([Mixup(), CutMix()]), RandomChoice([Mixup(), CutMix(alpha=2.0)])),
    "what a function closes over": (outer(0.1), outer(0.2)),
    "numbers in a function": (lambda: Module(lr=0.1), lambda: Module(lr=0.2)),
    "numbers in an inner function": (lambda: [lambda: 0.1], lambda: [lambda: 0.2]),
    "names in a function": (lambda x: x.train, lambda x: x.eval),
    "defaults": (lambda lr=0.1: lr, lambda lr=0.2: lr),
    "structures": (nn.Linear(2, 3), nn.Linear(2, 4)),
    "methods": ("a".upper, "a".lower),
    "nested": ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}),
    "sets": ({1, 2}, {1, 3}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_other_settings_are_described_otherwise(name):
    first, second = ({"value": json.loads(json.dumps(describe(value)))} for value in PAIRS[name])
    assert difference(first, second)
    assert not difference(first, first)


# Each is the text of a module, and what is edited in it.
EDITS = {
    "a class": ("class factory:\n    def __init__(self):\n        self.lr = 0.1\n", "0.1", "0.2"),
    "a class attribute": ("class factory:\n    lr = 0.1\n", "0.1", "0.2"),
    "a base class": ("class Base:\n    def f(self):\n        return 1\nclass factory(Base):\n    pass\n", "1", "2"),
    "a property": ("class factory:\n    @property\n    def lr(self):\n        return 0.1\n", "0.1", "0.2"),
    "a static method": ("class factory:\n    @staticmethod\n    def lr():\n        return 0.1\n", "0.1", "0.2"),
    "a class method": ("class factory:\n    @classmethod\n    def lr(cls):\n        return 0.1\n", "0.1", "0.2"),
    "a cached property": (
        "from functools import cached_property\nclass factory:\n    @cached_property\n    def lr(self):\n"
        "        return 0.1\n",
        "0.1",
        "0.2",
    ),
    "a field": (
        "from dataclasses import dataclass\n@dataclass\nclass factory:\n    lr: float = 0.1\n",
        "0.1",
        "0.2",
    ),
    "a function": ("def factory():\n    return 2 + 1\n", "+", "-"),
    "a helper": ("def factory():\n    return helper()\ndef helper():\n    return 2 + 1\n", "+", "-"),
    "a helper's helper": (
        "def inner():\n    return 2 + 1\ndef helper():\n    return inner()\nfactory = lambda: helper()\n",
        "+",
        "-",
    ),
    "a helper of a method": (
        "def helper():\n    return 2 + 1\nclass factory:\n    def f(self):\n        return helper()\n",
        "+",
        "-",
    ),
    "a helper in a class": (
        "class Helper:\n    def f(self):\n        return 2 + 1\ndef factory():\n    return Helper()\n",
        "+",
        "-",
    ),
    "a global number": ("LR = 0.1\ndef factory():\n    return LR\n", "0.1", "0.2"),
    "a decorator": (
        "def times(n):\n    return lambda f: lambda: n * f()\n@times(2)\ndef factory():\n    return 1\n",
        "times(2)",
        "times(3)",
    ),
    "a cached function": ("import functools\n@functools.cache\ndef factory():\n    return 1\n", "1", "2"),
    "a wrapped function": (
        "import functools\ndef f():\n    return 1\n@functools.wraps(f)\ndef factory():\n    return f()\n",
        "return 1",
        "return 2",
    ),
    "a nested function": ("def factory():\n    def inner():\n        return 2 + 1\n    return inner\n", "+", "-"),
    "an object": (
        "class Maker:\n    def __call__(self):\n        return 2 + 1\nfactory = Maker()\n",
        "+",
        "-",
    ),
    "a partial": (
        "from functools import partial\ndef make(n):\n    return 2 + n\nfactory = partial(make, 1)\n",
        "+",
        "-",
    ),
    "one lambda of two in a line": ("first, factory = lambda: [1], lambda: [2]\n", "[2]", "[3]"),
    "a lambda in a list": ("factory = [\n    lambda: 1,\n    lambda: [\n        2,\n    ],\n]\n", "2,", "3,"),
    "a line after an umlaut": ("first, factory = lambda: ['ü'], lambda: ['ü', 'a']\n", "'a'", "'b'"),
    "an asynchronous function": ("async def factory():\n    return 2 + 1\n", "+", "-"),
    "an enumeration": (
        "import enum\nclass Kind(enum.Enum):\n    A = 1\ndef factory():\n    return Kind.A\n",
        "A = 1",
        "A = 2",
    ),
}


def module_of(path, text, name="a_users_module"):
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Describes ``factory`` of a module's text, each text in a file of its own."""
    files = iter(range(100))

    def description(text):
        monkeypatch.setitem(sys.modules, "a_users_module", None)
        return {"factory": describe(module_of(tmp_path / f"{next(files)}.py", text).factory)}

    return description


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_the_source_is_another_study(name, edited):
    text, old, new = EDITS[name]
    assert text.count(old) >= 1
    first = edited(text)
    assert difference(first, edited(text.replace(old, new)))
    assert without_source(first) == []
    apart = "# a comment\n\nUNUSED = 7\n\n\n" + text.replace("\n", "  # another\n\n", 1)
    assert difference(first, edited(apart)) == ""


def test_a_neighbour_in_the_line_may_change(edited):
    assert edited("first, factory = lambda: 1, lambda: 2\n") == edited("first, factory = lambda: 7, lambda: 2\n")


def test_the_module_of_a_helper_is_followed(tmp_path, monkeypatch, edited):
    user = "import a_users_helpers as helpers\ndef factory():\n    return helpers.make()\n"

    def with_helper(body):
        monkeypatch.setitem(sys.modules, "a_users_helpers", None)
        module_of(tmp_path / f"helpers{len(body)}.py", f"def make():\n    return {body}\n", "a_users_helpers")
        return edited(user)

    assert difference(with_helper("1"), with_helper("22")).startswith(
        'factory.uses.helpers.make.source[1]: "    return 1" there, "    return 22" here'
    )


def test_source_of_a_notebook_is_found():
    from IPython.core.interactiveshell import InteractiveShell

    def cell(text):
        shell = InteractiveShell()
        shell.run_cell(text, silent=True)
        return {"factory": describe(shell.user_ns["factory"])}

    text = "class Net:\n    lr = 0.1\n    def f(self):\n        return 2 + 1\nfactory = lambda: Net()\n"
    first = cell(text)
    assert without_source(first) == []
    assert difference(first, cell(text)) == ""
    assert difference(first, cell(text.replace("+", "-")))
    assert difference(first, cell(text.replace("0.1", "0.2")))


def test_a_function_without_source_is_named():
    space = {"__name__": "somewhere"}
    exec("def factory():\n    return 1\nclass Net:\n    def f(self):\n        return 1", space)
    assert without_source(describe([space["factory"]])) == ["somewhere.factory"]
    assert without_source(describe({"net": space["Net"]})) == ["somewhere.Net.f"]


def test_an_installed_object_is_what_its_constructor_was_given():
    assert describe(pl_callbacks.StochasticWeightAveraging(swa_lrs=0.1))["_swa_lrs"] == 0.1
    assert {"alpha": 0.3, "p": 0.5, "labels": "soft"}.items() <= describe(Mixup(alpha=0.3, p=0.5)).items()
    assert not [name for name in describe(Mixup()) if name.startswith("_")]


def test_what_is_made_by_chance_is_no_setting(tmp_path):
    class Named(pl_callbacks.Callback):
        def __init__(self, rate):
            self.rate, self.id = rate, uuid.uuid4().hex

    def study(rate):
        arms = {"named": lambda: [Named(rate), Distillation(nn.Linear(2, 3))]}
        return Ablation(Module, Data, arms, directory=tmp_path)

    store = study(0.1)._store
    store.open()
    study(0.1)
    with pytest.raises(ValueError, match=r"another study \(arms\.named\[0\]\.made\[0\]\.rate: 0\.1 there, 0\.2 here"):
        study(0.2)
    assert settled({"a": [1, 2]}, {"a": [1, 3]}) == {"a": [1, "differs each time"]}


def test_installed_code_is_its_name():
    assert describe(nn.Linear) == "torch.nn.modules.linear.Linear"
    assert describe(describe) == "lightning_tricks.study.fingerprint.describe"
    assert describe(json.dumps) == "json.dumps"


STANDALONE = """
import importlib.util, json, sys, types

class Absent:
    pass

ours = ("lightning_tricks", "lightning_tricks.engine", "lightning_tricks.engine.shared_run", "lightning_tricks.study")
for name in ("torch", "torch.nn", "numpy", *ours):
    sys.modules[name] = types.ModuleType(name)
sys.modules["lightning_tricks.engine.shared_run"].Trick = Absent
sys.modules["torch"].nn = sys.modules["torch.nn"]
sys.modules["torch"].Tensor = sys.modules["numpy"].ndarray = sys.modules["numpy"].generic = Absent
sys.modules["torch.nn"].Module = Absent

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

folder, *files = sys.argv[1:]
describe = load("lightning_tricks.study.fingerprint", folder + "/fingerprint.py").describe
print(json.dumps([describe(load("a_users_module", file).factory) for file in files], sort_keys=True))
"""


@pytest.mark.parametrize("interpreter", ["python3.10", "python3.12", "python3.13"])
def test_another_version_of_python_describes_alike(interpreter, tmp_path):
    if shutil.which(interpreter) is None or subprocess.run([interpreter, "-V"], capture_output=True).returncode:
        pytest.skip(f"{interpreter} is not installed")
    (tmp_path / "standalone.py").write_text(textwrap.dedent(STANDALONE), encoding="utf-8")
    texts = {name: text for name, (text, *_) in EDITS.items()}
    if interpreter == "python3.10":
        # It does not know the columns of a function, and takes all lambdas of the line.
        texts = {name: text for name, text in texts.items() if text.count("lambda:") < 2 or "[\n" in text}
        texts.pop("a decorator")
    for number, text in enumerate(texts.values()):
        (tmp_path / f"{number}.py").write_text(text, encoding="utf-8")
    files = [str(tmp_path / f"{number}.py") for number in range(len(texts))]
    folder = str(Path(describe.__code__.co_filename).parent)
    said = []
    for python in (sys.executable, interpreter):
        command = [python, "-I", str(tmp_path / "standalone.py"), folder, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(dict(zip(texts, json.loads(done.stdout), strict=True)))
    assert said[0] == said[1]


def test_equal_settings_are_described_alike():
    def make():
        return (
            [Mixup(), CosineDecay(), RandomChoice([Mixup(), CutMix()])],
            partial(Module, lr=0.1),
            outer(0.1),
            {3, 1, 2},
        )

    assert json.dumps(describe(make())) == json.dumps(describe(make()))
    assert describe({1: (True, None)}) == {"1": [True, None]}
    assert describe(type("Positive", (int,), {})(3)) == 3


def test_what_contains_itself_is_described():
    def recursive(n):
        return n and recursive(n - 1)

    assert describe(recursive)["closure"] == {"recursive": f"{__name__}.{recursive.__qualname__}"}

    def early():
        return later

    unset = describe(early)
    later = 1
    assert "closure" not in unset
    assert describe(early)["closure"] == {"later": 1}


def test_addresses_are_left_out():
    first, second = (Augment(v2.Lambda(lambda image: image)) for _ in range(2))
    assert describe(first) == describe(second)
    assert "0x" not in json.dumps(describe(first))


def of_all_kinds(directory):
    return [
        *(Mixup(), outer(0.1), {"a", "b", "c"}, net(), Distillation(net()), partial(Module, lr=0.1), {net, outer}),
        *(pl_callbacks.EMAWeightAveraging(decay=0.9), pl_callbacks.StochasticWeightAveraging(swa_lrs=0.1)),
        *(pl_callbacks.ModelCheckpoint(dirpath=directory), pl_callbacks.EarlyStopping("loss"), pl_callbacks.Timer()),
        *(CSVLogger(directory), TensorBoardLogger(directory), DDPStrategy(), logging.getLogger("a")),
        *(np.random.default_rng(), torch.Generator(), threading.Lock(), torch.device("cpu"), v2.RandomRotation(5)),
    ]


def test_another_process_describes_alike(tmp_path):
    code = (
        "import json, sys; from tests.study.test_fingerprint import *\n"
        "print(json.dumps({'all': describe(of_all_kinds(sys.argv[1]))}))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    there, again = (
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(2)
    )
    assert difference(there, again) == ""
    here = {"all": json.loads(json.dumps(describe(of_all_kinds(str(tmp_path)))))}
    assert difference(there, here) == ""


def test_difference_names_what_differs():
    there = {"arms": {"mixup": [{"alpha": 0.2}], "cutmix": []}, "metric": "val_acc", "num_seeds": 3}
    assert difference(there, there) == ""
    assert difference(there, there | {"num_seeds": 10}) == "num_seeds: 3 there, 10 here"
    less = {**there, "arms": {"mixup": [{"alpha": 0.2}]}}
    assert difference(there, less) == "arms.cutmix: [] there, none here"
    assert difference(less, there) == "arms.cutmix: none there, [] here"
    other = {**there, "arms": {"mixup": [{"alpha": 0.4}], "cutmix": []}}
    assert difference(there, other) == "arms.mixup[0].alpha: 0.2 there, 0.4 here"
    long = {**there, "arms": {"mixup": [{"alpha": 0.2}], "cutmix": [{"words": "ab" * 100}]}}
    shown = '[{"words": "' + "ab" * 24
    assert difference(there, long) == f"arms.cutmix: [] there, {shown}… here"
    many = {str(i): i for i in range(8)}
    assert difference(many, dict.fromkeys(many, -1)).endswith("4: 4 there, -1 here; and 3 more")
