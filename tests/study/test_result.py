import csv
import io
import math
from dataclasses import replace
from html import escape

import pytest
from rich.console import Console

from lightning_tricks.cli.study_command import comparison_table
from lightning_tricks.study import StudyResult
from tests.study.results import LONG, result


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_obey_every_setting():
    usual = result()
    verdicts = [
        "",
        "helps",
        "hurts",
        "no difference beyond ±0.01",
        "inconclusive with 10 seeds",
        "diverged in 1 of 10 runs",
    ]
    assert [row.verdict for row in usual.rows] == verdicts
    assert [row.kind for row in usual.rows] == ["", "helps", "hurts", "no difference", "inconclusive", "diverged"]
    assert usual.rows is usual.rows, "computed once"
    assert result(margin=None).rows[3].verdict == "inconclusive with 10 seeds"
    assert result(mode="min").rows[1].verdict == "hurts"
    assert result(confidence=0.5).rows[4].high < usual.rows[4].high
    assert result(references={"cutmix": "mixup"}).rows[4].reference == "mixup"


def test_in_percent_a_verdict_names_points_and_the_numbers_stay():
    percent = result(percent=True)
    assert percent.cells()[3]["verdict"] == "no difference beyond ±1 point"
    assert percent.rows[3].verdict == "no difference beyond ±0.01"
    assert percent.rows[1] == result().rows[1]
    assert percent.table_csv() == result().table_csv()
    assert percent.runs_csv() == result().runs_csv()


def test_notes_say_what_the_numbers_are():
    notes = " ".join(result().notes())
    assert (
        "val_acc after the last epoch on the validation part (360 samples; trained on 1077), mean of 10 seeds" in notes
    )
    assert "Differences are from the baseline, paired by seed" in notes
    assert "Intervals (95%)" in notes
    assert "at most 5% of such studies make any false claim" in notes
    assert "The test part was not read." in notes
    assert "Diverged runs: adabound (1 of 10)" in notes
    assert "not finished" not in notes
    notes = " ".join(result(num_seeds=1, part="test", mode="min", missing=[("mixup", 3)], confidence=0.9).notes())
    assert "on the test part" in notes
    assert "mean of 1 seed;" in notes
    assert "smaller is better" in notes
    assert "at most 10% of" in notes
    assert "not read" not in notes
    assert "Runs not finished yet: 1; rows rest on the seeds that are, and there is no verdict before all are." in notes
    records = result().records
    other = records[0] | {"seed": 99, "train_size": 1080, "eval_size": 357}
    varied = " ".join(result(records=[*records, other]).notes())
    assert "(357 to 360 samples; trained on 1077 to 1080)" in varied
    several = result(references={"mixup": "baseline", "cutmix": "mixup"})
    assert "Differences are paired by seed" in " ".join(several.notes())
    assert "Diverged" not in " ".join(result(arms=["baseline", "mixup"]).notes())


def test_there_is_no_verdict_before_all_runs_are_finished():
    rows = result(missing=[("late", 0), ("late", 1)]).rows
    assert [row.verdict for row in rows] == ["", *["no verdict, 2 runs missing"] * 6]
    assert (rows[-1].arm, rows[-1].num_seeds) == ("late", 0)


def test_few_seeds_are_a_demonstration():
    assert (
        result(num_seeds=9).warning == "With 9 seeds this is a demonstration, not evidence: take 10 or more to decide."
    )
    assert result(num_seeds=1).warning.startswith("With 1 seed this")
    assert result().warning == ""
    assert result(num_seeds=9).is_demonstration
    assert not result().is_demonstration


def test_tables_are_csv():
    study = result(num_seeds=2)
    rows, runs = read(study.table_csv()), read(study.runs_csv())
    assert [row["arm"] for row in rows] == [row.arm for row in study.rows]
    assert float(rows[1]["difference"]) == study.rows[1].difference
    assert rows[2]["verdict"] == study.rows[2].verdict
    assert [float(run["value"]) for run in runs[:3]] == [record["value"] for record in study.records[:3]]
    assert set(runs[0]) == set(study.records[0])
    assert math.isnan(float(runs[11]["value"]))


def test_files_are_written(tmp_path):
    study = result(num_seeds=2)
    paths = study.write(tmp_path / "new")
    assert sorted(path.name for path in paths) == ["differences.png", "report.html", "runs.csv", "table.csv"]
    assert sorted((tmp_path / "new").iterdir()) == sorted(paths)
    assert (tmp_path / "new" / "table.csv").read_text() == study.table_csv()
    assert (tmp_path / "new" / "differences.png").read_bytes().startswith(b"\x89PNG")
    assert LONG in (tmp_path / "new" / "report.html").read_text()
    study.write(str(tmp_path / "new"))


def test_a_study_without_a_run_has_outputs(tmp_path):
    empty = result(num_seeds=0)
    empty.settings["num_seeds"] = 3
    empty.write(tmp_path)
    assert empty.rows == []
    with pytest.raises(IndexError):
        empty.rows[0]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", '=HYPERLINK("http://x","y")']


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_of_a_table_begins_like_a_formula(name):
    study = named(name)
    for text in (study.table_csv(), study.runs_csv()):
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert "'" + name.replace("\r", "\n") in {cell for row in rows for cell in row}
        words = [cell for row in rows for cell in row if not is_number(cell)]
        assert not [cell for cell in words if cell.strip()[:1] in tuple("=+-@＝") or cell[:1] in tuple("\t\r\n")]
    assert [float(row["difference"]) for row in read(study.table_csv())][1] < 0, "numbers stay numbers"


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def named(*names):
    """A result in which arms have these names; the last is worse than the baseline."""
    study = result(num_seeds=2, arms=["baseline", LONG])
    records = [record | {"arm": name} for name in names for record in study.records if record["arm"] == LONG]
    records = [record for record in study.records if record["arm"] == "baseline"] + records
    return replace(study, records=records, references=dict.fromkeys(names, "baseline"))


NAMES = [
    r"$\frac{$", r"$\undefined$", "$", "a$b$c", "_^{", "<script>alert(1)</script>", "&amp;", '"', "a\nb",
    "../../etc/passwd", "a/b\\c", "[red]x[/red]", "[/]", "x" * 3000, "word " * 500, "%s {0}", "\u202e left", "é",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_every_name_reaches_every_file(name, tmp_path):
    study = replace(named(name, "Mixup", "mixup"), settings={"num_seeds": 2, "metric": name, "arms": {name: []}})
    study.write(tmp_path)
    assert name in {row["arm"] for row in csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(), newline=""))}
    assert escape(name) in (tmp_path / "report.html").read_text()
    assert (tmp_path / "differences.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 4
    console = Console(width=4000, file=io.StringIO())
    console.print(comparison_table(study))
    assert name.split("\n")[0].strip() in console.file.getvalue()


def test_the_tables_are_there_even_if_the_picture_fails(tmp_path, monkeypatch):
    def fail(study):
        raise ValueError("no picture")

    monkeypatch.setattr(StudyResult, "figure", fail)
    with pytest.raises(ValueError, match="no picture"):
        result(num_seeds=2).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.csv", "table.csv"]
