import json

import pytest

from tests.scripts import run_command


@pytest.mark.slow
def test_ranks_do_the_same_runs_and_one_writes(tmp_path):
    run_command(["-m", "tests.study.ddp_study", tmp_path]).check_returncode()
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["again"]
    records, confirmed = first["records"]
    assert (len(records), len(confirmed)) == (4, 2)
    # Rank 0 logs the rate, rank 1 one less it; rank 0 decides.
    assert [(record["lr"], record["value"]) for record in records] == [(0.2, pytest.approx(0.2))] * 4
    written = sorted(path.name for path in (tmp_path / "study" / "runs").iterdir())
    assert len(written) == 4 * 3, "no leftovers of a second writer"
    assert len(list((tmp_path / "study" / "confirm" / "runs").iterdir())) == 2 * 3
    assert {path.name for path in tmp_path.glob("rank-*")} == {"rank-0", "rank-1"}
