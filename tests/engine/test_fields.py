import dataclasses
from collections import OrderedDict, UserDict, namedtuple
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_tricks.engine.fields import describe, find_input, find_target, get_at, is_only_images, set_at

X, Y, Z = torch.rand(4, 3, 8, 6), torch.arange(4), torch.arange(4.0)
VIEW = torch.rand(4, 3, 8, 6)
Named = namedtuple("Named", ["meta", "image", "label"])
Plain = namedtuple("Plain", ["a", "b"])


@dataclasses.dataclass(frozen=True)
class Batch:
    image: Any
    label: Any
    note: str = ""


@pytest.mark.parametrize(
    ("batch", "input_path", "target_path"),
    [
        ((X, Y), (0,), (1,)),
        ([X, Y], (0,), (1,)),
        ((X, Y, Z), (0,), (1,)),
        (Plain(X, Y), (0,), (1,)),
        (Named(Z, X, Y), ("image",), ("label",)),
        ({"image": X, "label": Y, "id": Z}, ("image",), ("label",)),
        (OrderedDict(pixel_values=X, labels=Y), ("pixel_values",), ("labels",)),
        (UserDict(inputs=X, targets=Y), ("inputs",), ("targets",)),
        (Batch(X, Y), ("image",), ("label",)),
        ({"data": {"x": X, "y": Y}, "id": Z}, ("data", "x"), ("data", "y")),
        ({"image": X, "target": {"label": Y, "age": Z}}, ("image",), ("target",)),
        (({"image": X}, Y), (0, "image"), (1,)),
        (({"image": X, "label": Y}, Z), (0, "image"), (0, "label")),
        ([{"image": X, "label": Y}], (0, "image"), (0, "label")),
        ([(X, Y)], (0, 0), (0, 1)),
        ((X, {"label": Y, "age": Z}), (0,), (1,)),
        (([X[0], X[1]], [{"boxes": Z}, {"boxes": Z}]), (0,), (1,)),
        (X, (), None),
        ([X], (0,), None),
        ({"image": X}, ("image",), None),
        # what is not obvious is not guessed
        ({"image": X, "x": X, "label": Y}, None, ("label",)),
        ({"image": X, "label": Y, "y": Y}, ("image",), None),
        ({"a": {"x": X}, "b": {"x": X}}, None, None),
        (((X, X), Y), None, (1,)),
        ((VIEW, VIEW, Y), (0,), None),
        ((VIEW, VIEW), (0,), (1,)),
        ({"picture": X, "class": Y}, None, None),
        (None, None, None),
        ("x", None, None),
        ((), None, None),
    ],
)
def test_the_obvious_places_are_found_and_others_are_not(batch, input_path, target_path):
    assert find_input(batch) == input_path
    assert find_target(batch) == target_path


@pytest.mark.parametrize(
    ("batch", "only"), [(X, True), ([X], True), ({"image": X}, True), ([[X]], True), ((X, Y), False), ("x", False)]
)
def test_a_batch_of_nothing_but_images_is_recognised(batch, only):
    assert is_only_images(batch) is only


@pytest.mark.parametrize(
    ("batch", "key"),
    [
        ([X, Y], 1),
        ((X, Y), 1),
        ((X, Y), -1),
        (Plain(X, Y), 1),
        (Plain(X, Y), "b"),
        ({"a": X, "b": Y}, "b"),
        (OrderedDict(a=X, b=Y), "b"),
        (UserDict(a=X, b=Y), "b"),
        (MappingProxyType({"a": X, "b": Y}), "b"),
        (Batch(X, Y, note="kept"), "label"),
        (SimpleNamespace(a=X, b=Y), "b"),
        ({"data": [X, Batch(X, Y)], "id": Z}, ("data", 1, "label")),
        ({"a": X, "b": Y}, (lambda batch: batch["b"], lambda batch, value: {**batch, "b": value})),
    ],
)
def test_a_replaced_entry_leaves_the_old_batch_alone(batch, key):
    assert get_at(batch, key) is Y
    changed = set_at(batch, key, Z)
    assert type(changed) is type(batch)
    assert get_at(changed, key) is Z
    assert get_at(batch, key) is Y
    assert getattr(changed, "note", "kept") == "kept"


def test_what_lies_beside_the_path_is_shared():
    batch = {"data": [X, Y], "other": [Z]}
    changed = set_at(batch, ("data", 1), Z)
    assert changed["other"] is batch["other"]
    assert changed["data"][0] is X
    assert changed["data"] is not batch["data"]


def test_the_empty_path_is_the_batch_itself():
    assert get_at(X, ()) is X
    assert set_at(X, (), Z) is Z


@pytest.mark.parametrize(
    ("batch", "key"),
    [((X, Y), 2), ((X, Y), "b"), ({"a": X}, "b"), (Batch(X, Y), "target"), (Batch(X, Y), 0), (X, "b"), (3, 0)],
)
def test_a_key_that_is_not_there(batch, key):
    with pytest.raises(LookupError, match="is not in"):
        get_at(batch, key)


def test_what_cannot_be_copied_says_so():
    class Sequence:
        def __getitem__(self, index):
            return X

    with pytest.raises(TypeError, match=r"an entry of Sequence cannot be replaced; pass a \(getter, setter\) pair"):
        set_at(Sequence(), 0, Y)


def test_descriptions_show_structure():
    assert describe({"x": X, "n": 3}) == "dict('x': float32[4, 3, 8, 6], 'n': int)"
    assert describe(Batch(X, Y)) == "Batch(image=float32[4, 3, 8, 6], label=int64[4], note=str)"
    assert describe([Y] * 6) == "list of 6 (int64[4], int64[4], int64[4], int64[4], …)"
    assert describe(None) == "NoneType"
