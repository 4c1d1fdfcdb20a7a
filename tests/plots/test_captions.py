import dataclasses

import numpy as np
import pytest

from lightning_tricks.callbacks.batch_trick import BatchParams
from lightning_tricks.plots.captions import drawn, wrap


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("cat 0.62 · dog 0.38", ["cat 0.62 · dog 0.38"]),
        ("brown bear 0.62 · dog 0.38", ["brown bear 0.62", "dog 0.38"]),
        ("a 0.50 · b 0.25 · brown bear 0.25", ["a 0.50 · b 0.25", "brown bear 0.25"]),
        ("great white heron of Florida 1.00", ["great white heron of", "Florida 1.00"]),
        ("hippopotomonstrosesquippedaliophobia", ["hippopotomonstrosesq", "uippedaliophobia"]),
    ],
)
def test_a_line_ends_between_labels_where_it_can(text, lines):
    assert wrap(text, 20) == lines


@dataclasses.dataclass(frozen=True)
class Params(BatchParams):
    """As a trick that a user wrote may have it."""

    active: bool = True
    strength: object = 0.5
    box: object = dataclasses.field(default_factory=lambda: np.array([1, 2, 3, 4]))
    angles: object = dataclasses.field(default_factory=lambda: np.array([0.25, -10.0]))
    kernel: object = (3, 5)
    mode: str = "bilinear"
    seed: int = dataclasses.field(default=17, repr=False)


def test_a_user_s_own_parameters_are_written_too():
    assert drawn(Params()) == ["strength 0.50", "box 3×4 at (1, 2)", "kernel (3, 5)"]
    assert drawn(Params(), 1) == ["angles -10.00"]


def test_boxes_of_each_image():
    boxes = np.array([[[0, 0, 2, 2], [1, 2, 3, 4]], [[0, 0, 0, 0], [5, 5, 0, 3]]])
    params = Params(box=boxes, angles="none", strength=np.array([0.1, 0.9]))
    assert drawn(params, 0) == ["strength 0.10", "box 2×2 at (0, 0)", "box 3×4 at (1, 2)"]
    assert drawn(params, 1) == ["strength 0.90", "no box", "no box"]
    assert drawn(params) == ["kernel (3, 5)"]


def test_a_trick_that_did_nothing_has_drawn_nothing():
    assert drawn(Params(active=False)) == drawn(Params(active=False), 0) == []
