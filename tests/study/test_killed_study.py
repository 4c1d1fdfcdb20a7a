import json

import pytest

from tests.scripts import run_command


@pytest.mark.slow
def test_killed_shared_and_interrupted_studies_end_like_a_quiet_one(tmp_path):
    done = run_command(["-m", "tests.study.killed_study", tmp_path])
    done.check_returncode()
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["codes"] == [-9] * 20, "a kill that comes after the end is none"
    assert report["redone"] == 0, "a finished run's file is never touched again"
    assert 0 < report["sizes"][9] < report["runs"] == 48
    assert report["last"] == 0
    assert report["shards"] == [0, 0]
    code, finished = report["interrupted"]
    assert (code, finished < 48) == (30, True)
    assert report["resumed"] == 0
    assert report["same"] == {"killed": True, "shards": True, "interrupted": True}
