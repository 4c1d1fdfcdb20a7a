import csv
import io
import math

import pytest

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
        "not shown with 10 seeds",
        "not shown with 10 seeds",
    ]
    assert [row.verdict for row in usual.rows] == verdicts
    assert result(margin=None).rows[3].verdict == "not shown with 10 seeds"
    assert result(mode="min").rows[1].verdict == "hurts"
    assert result(confidence=0.5).rows[4].high < usual.rows[4].high
    assert result(references={"cutmix": "mixup"}).rows[4].reference == "mixup"


def test_in_percent_a_verdict_names_points_and_the_numbers_stay():
    percent = result(percent=True)
    assert percent.rows[3].verdict == "no difference beyond ±1 point"
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
