import math

from rich.console import Console

from lightning_tricks.cli.study_command import comparison_table
from lightning_tricks.study import StudyResult

SIZES = {"metric": "val_acc", "diverged": False, "lr": None, "train_size": 1077, "eval_size": 360}


def lines(values, *, seconds=2.04, peak_memory=3.2 * 2**20, margin=None):
    """The table of a baseline and mixup, by seed."""
    records = [
        {"arm": arm, "seed": seed, "value": value, "seconds": seconds, "peak_memory": peak_memory, **SIZES}
        for arm, column in values.items()
        for seed, value in enumerate(column)
    ]
    result = StudyResult(
        records=records,
        missing=[],
        settings={"num_seeds": len(values["baseline"])},
        references={arm: "baseline" for arm in values if arm != "baseline"},
        part="validation",
        mode="max",
        confidence=0.9,
        margin=margin,
    )
    console = Console(width=120)
    with console.capture() as capture:
        console.print(comparison_table(result))
    return {line.split()[0]: line.split() for line in capture.get().splitlines() if line.strip()}, result


def test_rows_are_in_percent_and_points():
    table, result = lines({"baseline": [0.98, 0.97, 0.99], "mixup": [0.985, 0.98, 0.99]})
    assert table["arm"][4:6] == ["90%", "interval"]
    assert table["baseline"] == ["baseline", "98.00", "2.0", "3"]
    row = result.rows[1]
    interval = [f"{100 * row.low:+.2f}", "to", f"{100 * row.high:+.2f}"]
    assert table["mixup"] == ["mixup", "98.50", "+0.50", *interval, *row.verdict.split(), "2.0", "3"]


def test_the_margin_is_in_points_as_the_differences_are():
    table, _ = lines({"baseline": [0.98, 0.97, 0.99], "mixup": [0.98, 0.97, 0.99]}, margin=0.5)
    assert "no difference beyond ±50 points" in " ".join(table["mixup"])


def test_one_seed_says_what_it_needs():
    table, _ = lines({"baseline": [0.98], "mixup": [0.99]})
    assert table["mixup"][2:6] == ["+1.00", "needs", "2", "seeds"]


def test_a_diverged_arm_and_an_unknown_memory():
    table, _ = lines({"baseline": [0.98, 0.97], "mixup": [math.nan, 0.98]}, peak_memory=math.nan)
    assert table["baseline"] == ["baseline", "97.50", "2.0"]
    assert table["mixup"] == ["mixup", *["diverged", "in", "1", "of", "2", "runs"], "2.0"]


def test_numbers_stay_whole_on_a_narrow_terminal():
    _, result = lines({"baseline": [0.98, 0.97, 0.99], "label_smoothing": [0.985, 0.98, 0.99]})
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison_table(result))
    text = capture.get()
    row = result.rows[1]
    assert f"{100 * row.low:+.2f} to {100 * row.high:+.2f}" in text
    assert " label_smoothing " in text
    assert "…" not in text
