import math

import pytest
from rich.console import Console

from lightning_tricks.cli.table import caption, comparison_table
from lightning_tricks.study import Comparison


def lines(*rows):
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(comparison_table(rows, baseline="baseline"))
    return capture.get().splitlines()


def test_rows_are_in_percent_and_points():
    table = lines(
        Comparison("baseline", 0.9812, 0.0, 0.0, 0.0, 2.04, 3),
        Comparison("mixup", 0.9904, 0.0092, -0.0021, 0.0205, 2.51, 3),
    )
    (baseline,) = (line for line in table if "baseline" in line)
    (mixup,) = (line for line in table if "mixup" in line)
    assert baseline.replace("│", " ").split() == ["baseline", "98.12", "2.0"]
    assert mixup.replace("│", " ").split() == ["mixup", "99.04", "+0.92", "-0.21", "to", "+2.05", "2.5"]


def test_one_seed_says_what_it_needs():
    table = lines(Comparison("mixup", 0.9904, 0.0092, math.nan, math.nan, 2.5, 1))
    assert any("needs 2 seeds" in line for line in table)
    assert not any("nan" in line for line in table)


@pytest.mark.parametrize(
    ("num_seeds", "words"), [(1, "With 1 seed this"), (3, "With 3 seeds this"), (9, "With 9 seeds")]
)
def test_few_seeds_are_a_demonstration(num_seeds, words):
    text = caption(num_seeds=num_seeds, train_size=1077, validation_size=360)
    assert words in text
    assert "is a demonstration, not evidence: take 10 or more" in text
    assert "on 360 validation images, 1077 training images" in text


def test_ten_seeds_are_not():
    assert "demonstration" not in caption(num_seeds=10, train_size=1077, validation_size=360)
