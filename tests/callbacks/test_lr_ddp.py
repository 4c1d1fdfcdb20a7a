"""Two processes on the CPU."""

import json
import math

import pytest

from tests.scripts import run_command


def test_all_ranks_end_a_monitored_warmup_at_the_same_step(tmp_path):
    done = run_command(["-m", "tests.callbacks.ddp_warmup", tmp_path])
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["end"] == 3
    # Two ranks with batches of 2, relative to 2: twice the rate. Four steps an epoch; the decay begins at step 3.
    cosine = [(1 + math.cos(math.pi * step / 5)) / 2 for step in range(5)]
    assert first["used"] == pytest.approx([0.02] * 3 + [0.2 * factor for factor in cosine], abs=1e-12)
    assert done.stderr.count("LinearScaling: ") + done.stdout.count("LinearScaling: ") == 1
