"""Run by the tests: a study killed at 20 random moments, two shards at once, and Ctrl-C; children are forked, since
importing everything takes longer than a run."""

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

from lightning_tricks import CosineDecay
from lightning_tricks.study import Ablation
from tests.study.small import CPU, Data, Module

KILLS = 20


def study(directory, num_seeds):
    return Ablation(
        Module,
        Data,
        {"cosine": lambda: [CosineDecay()]},
        num_seeds=num_seeds,
        max_epochs=1,
        directory=directory,
        trainer_options=CPU,
        lr_grid=[0.05, 0.1],
    )


def start(directory, num_seeds, **kwargs):
    """A child that does the study, or its share."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            study(directory, num_seeds).run(progress=False, **kwargs)
            code = 0
        except KeyboardInterrupt:
            code = 30
        finally:
            os._exit(code)
    return child


def code_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files(directory):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in directory.glob("runs/*.json")}


def without_costs(result):
    return [{**record, "seconds": 0, "peak_memory": 0} for record in result.records]


def is_running(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def kill_often(folder, num_seeds, run_seconds):
    """Each kill comes within a run's time after the start, or after one more run; so the study outlives them all.

    However fast the machine becomes meanwhile, a kill waits for no more than two runs.
    """
    rng, codes, redone, sizes = random.Random(0), [], 0, []
    for _ in range(KILLS):
        before = files(folder)
        child = start(folder, num_seeds)
        if rng.random() < 0.5:
            while len(files(folder)) == len(before) and is_running(child):
                time.sleep(0.001)
        end = time.monotonic() + rng.uniform(0, run_seconds)
        while time.monotonic() < end and len(files(folder)) < len(before) + 2:
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        codes.append(code_of(child))
        after = files(folder)
        redone += any(after.get(name) != stamp for name, stamp in before.items())
        sizes.append(len(after))
    return {"codes": codes, "redone": redone, "sizes": sizes}


def main(folder):
    folder, num_seeds = Path(folder), 8
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="The number of training batches")
    start_time = time.perf_counter()
    whole = without_costs(study(None, num_seeds).run(progress=False))
    report = kill_often(folder / "killed", num_seeds, (time.perf_counter() - start_time) / len(whole))
    report["last"] = code_of(start(folder / "killed", num_seeds))
    shards = [start(folder / "shards", num_seeds, shard=(i, 2)) for i in (1, 2)]
    report["shards"] = [code_of(child) for child in shards]
    interrupted = start(folder / "interrupted", num_seeds)
    while not files(folder / "interrupted"):
        time.sleep(0.01)
    os.kill(interrupted, signal.SIGINT)
    report["interrupted"] = [code_of(interrupted), len(files(folder / "interrupted"))]
    report["resumed"] = code_of(start(folder / "interrupted", num_seeds))
    report["same"] = {
        name: without_costs(study(folder / name, num_seeds).result()) == whole
        for name in ("killed", "shards", "interrupted")
    }
    report["runs"] = len(files(folder / "killed"))
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
