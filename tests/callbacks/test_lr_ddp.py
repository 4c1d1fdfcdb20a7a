"""Two processes on the CPU."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_all_ranks_end_a_monitored_warmup_at_the_same_step(tmp_path):
    command = [sys.executable, "-m", "tests.callbacks.ddp_warmup", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=240, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["end"] == 3
    # Two ranks with batches of 2, relative to 2: twice the rate. Four steps an epoch; the decay begins at step 3.
    cosine = [(1 + math.cos(math.pi * step / 5)) / 2 for step in range(5)]
    assert first["used"] == pytest.approx([0.02] * 3 + [0.2 * factor for factor in cosine], abs=1e-12)
    assert done.stderr.count("LinearScaling: ") + done.stdout.count("LinearScaling: ") == 1
