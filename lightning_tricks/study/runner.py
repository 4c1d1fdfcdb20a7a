"""Does the runs of a study that are not finished yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from lightning_tricks.study.arm import Arm
from lightning_tricks.study.isolation import await_other_ranks
from lightning_tricks.study.lr_choice import best_lr
from lightning_tricks.study.progress import StudyProgress
from lightning_tricks.study.run_store import RunStore, run_name
from lightning_tricks.study.training import HELD_OUT, Training


@dataclass(frozen=True)
class Runner:
    """How the runs of a study are done.

    Attributes:
        arms: name to the tricks that the arm joins.
        training: one run.
        max_epochs: of each run, for the progress.
        mode: ``"max"`` or ``"min"``.
        lr_grid: the learning rates among which each run chooses; ``None`` for the module's own.
    """

    arms: Mapping[str, Sequence[Arm]]
    training: Training
    max_epochs: int
    mode: str
    lr_grid: Sequence[float] | None

    def do(self, pairs: Sequence[tuple[str, int]], store: RunStore, *, part: str, progress: bool) -> None:
        """Does the runs that the store does not have.

        Args:
            pairs: arm and seed of each run.
            store: where finished runs are and go.
            part: ``"validation"`` or ``"test"``, what a run is measured on.
            progress: whether to show on stderr how far it is.
        """
        await_other_ranks()
        # Decided once: all ranks of a distributed run must do the same runs, and this one will write while others read.
        finished = store.finished()
        missing = [(arm, seed) for arm, seed in pairs if (arm, seed, None) not in finished]
        epochs = self.max_epochs * (1 + len(self.lr_grid or ()))
        try:
            with StudyProgress(runs=len(missing), epochs=epochs, show=progress and _is_rank_zero()) as bar:
                for arm, seed in missing:
                    runs = {trial: finished.get((arm, seed, trial)) for trial in range(len(self.lr_grid or ()))}
                    self._do_one(arm, seed, runs, store, part=part, on_epoch_end=bar.epoch)
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
        part: str,
        on_epoch_end: Callable[[], None],
    ) -> None:
        def train(trial: int | None, lr: float | None) -> dict[str, Any]:
            measured = self.training.run(
                self.arms[arm], seed, part=part if trial is None else HELD_OUT, lr=lr, on_epoch_end=on_epoch_end
            )
            record = {"arm": arm, "seed": seed, "trial": trial, **measured}
            name = run_name(seed, list(self.arms).index(arm), arm, trial)
            store.add(name, record, write=_is_rank_zero())
            return record

        lr = None
        if self.lr_grid is not None:
            tried = [trials[trial] or train(trial, rate) for trial, rate in enumerate(self.lr_grid)]
            lr = best_lr(tried, mode=self.mode)
        train(None, lr)


def _is_rank_zero() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0
