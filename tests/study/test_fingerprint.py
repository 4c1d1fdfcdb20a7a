import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from torch import nn
from torchvision.transforms import v2

from lightning_tricks import Augment, CosineDecay, CutMix, Mixup, RandomChoice, StepDecay
from lightning_tricks.study.fingerprint import describe, difference
from tests.study.small import Data, Module


def outer(lr):
    return lambda: Module(lr=lr)


PAIRS = {
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
    first, second = (json.dumps(describe(value)) for value in PAIRS[name])
    assert first != second


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


def test_what_contains_itself_is_described():
    def recursive(n):
        return n and recursive(n - 1)

    assert describe(recursive)["closure"] == ["the same function"]

    def early():
        return later

    unset = describe(early)
    later = 1
    assert "closure" not in unset
    assert describe(early)["closure"] == [1]
    mapping = {}
    mapping["self"] = mapping
    assert describe(mapping) == {"self": "the same dict"}


def test_addresses_are_left_out():
    first, second = (Augment(v2.Lambda(lambda image: image)) for _ in range(2))
    assert describe(first) == describe(second)
    assert "0x" not in json.dumps(describe(first))


def test_another_process_describes_alike():
    code = (
        "import json; from tests.study.test_fingerprint import *\n"
        "print(json.dumps(describe([Mixup(), outer(0.1), {'a', 'b', 'c'}, nn.Linear(2, 3), partial(Module, lr=0.1)])))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip(),
        json.dumps(describe([Mixup(), outer(0.1), {"a", "b", "c"}, nn.Linear(2, 3), partial(Module, lr=0.1)])),
    }
    assert len(runs) == 1


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
