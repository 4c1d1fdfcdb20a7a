"""Does the runs of a study that are not finished yet."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from lightning_tricks.study.arm import Arm
from lightning_tricks.study.runs.progress import StudyProgress
from lightning_tricks.study.runs.store import RunStore, run_name
from lightning_tricks.study.runs.training import Part, Training


@dataclass(frozen=True)
class Runner:
    """Does the runs of a study; with an ``lr_grid`` each run chooses its rate first."""

    arms: Mapping[str, Sequence[Arm]]
    training: Training
    max_epochs: int
    mode: str
    lr_grid: Sequence[float] | None

    def do(self, pairs: Sequence[tuple[str, int]], store: RunStore, *, part: Part, progress: bool) -> None:
        """Does the runs, pairs of arm and seed, that the store does not have."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()  # all ranks see what rank 0 has written
        # Decided once: all ranks of a distributed run must do the same runs, and this one will write while others read.
        finished = store.finished()
        missing = [(arm, seed) for arm, seed in pairs if (arm, seed, None) not in finished]
        epochs = self.max_epochs * (1 + len(self.lr_grid or ()))
        try:
            with StudyProgress(runs=len(missing), epochs=epochs, show=progress and _is_rank_zero()) as bar:
                for arm, seed in missing:
                    runs = {trial: finished.get((arm, seed, trial)) for trial in range(len(self.lr_grid or ()))}
                    finished[arm, seed, None] = self._do_one(arm, seed, runs, store, part=part, on_epoch_end=bar.epoch)
                    if part == "test":
                        _check_test_part(finished.values())
                    bar.run(f"{arm}, seed {seed}")
        finally:
            store.close()

    def _do_one(
        self,
        arm: str,
        seed: int,
        trials: Mapping[int, Mapping[str, Any] | None],
        store: RunStore,
        *,
        part: Part,
        on_epoch_end: Callable[[], None],
    ) -> dict[str, Any]:
        def train(trial: int | None, lr: float | None) -> dict[str, Any]:
            measured = self.training.run(
                self.arms[arm], seed, part=part if trial is None else "held out", lr=lr, on_epoch_end=on_epoch_end
            )
            record = {"arm": arm, "seed": seed, "trial": trial, **measured}
            name = run_name(seed, list(self.arms).index(arm), arm, trial)
            store.add(name, record, write=_is_rank_zero())
            return record

        lr = None
        if self.lr_grid is not None:
            tried = [trials[trial] or train(trial, rate) for trial, rate in enumerate(self.lr_grid)]
            lr = best_lr(tried, mode=self.mode)
        return train(None, lr)


def _check_test_part(records: Iterable[Mapping[str, Any]]) -> None:
    """Refuses runs that were measured on different test parts."""
    seeds = {record["eval_part"]: record["seed"] for record in records if record.get("eval_part")}
    if len(seeds) > 1:
        one, other = list(seeds.values())[:2]
        raise ValueError(
            f"Ablation.confirm needs a datamodule with the same test part for every seed, but those of seeds {one} and "
            f"{other} differ. Split the test part off with a seed of its own, and start another study."
        )


def best_lr(trials: Sequence[Mapping[str, Any]], *, mode: str) -> float:
    """The learning rate of the best trial, or of the first of equal ones; a value that is not finite is the worst."""

    def goodness(trial: Mapping[str, Any]) -> float:
        if not math.isfinite(trial["value"]):
            return -math.inf
        return float(trial["value"]) if mode == "max" else -float(trial["value"])

    return float(max(trials, key=goodness)["lr"])


def parse_shard(shard: str | tuple[int, int] | None) -> tuple[int, int]:
    """The share, counted from 1, and the number of shares, of ``(i, n)`` or ``"i/n"``; ``None`` is the only one."""
    if shard is None:
        return 1, 1
    if isinstance(shard, str):
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", shard)
        if match is None:
            raise ValueError(f'Ablation needs shard to be of the form "i/n", but got {shard!r}.')
        index, count = int(match[1]), int(match[2])
    elif isinstance(shard, tuple | list) and len(shard) == 2 and all(type(number) is int for number in shard):
        index, count = shard
    else:
        raise TypeError(f'Ablation needs shard to be "i/n" or a pair of integers, but got {shard!r}.')
    if not 1 <= index <= count:
        raise ValueError(f"Ablation counts shares from 1 to their number, but got share {index} of {count}.")
    return index, count


def _is_rank_zero() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0
