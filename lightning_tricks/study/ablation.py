"""The runner of an ablation: the same training with one thing changed at a time."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from lightning_tricks.functional.checks import check_choice, check_integer, check_number
from lightning_tricks.study.arm import BASELINE, Arm, arms_of, references_of
from lightning_tricks.study.fingerprint import describe
from lightning_tricks.study.lr_choice import best_lr
from lightning_tricks.study.progress import StudyProgress
from lightning_tricks.study.result import StudyResult
from lightning_tricks.study.run_store import RunStore, run_name
from lightning_tricks.study.shard import parse_shard
from lightning_tricks.study.training import HELD_OUT, Training, await_other_ranks, isolated_generators


class Ablation:
    """Trains every arm and the baseline once for each seed, and compares them.

    A seed stands for a new split, new first weights and a new order of the data, the same for all arms: each run builds
    its data with ``datamodule(seed=seed)`` and its module under that seed, and puts the global generators back. The
    metric is that of the weights after the last epoch, on the validation part; the test part is not read before
    :meth:`confirm`. A datamodule must give the same test part for every seed.

    With ``lr_grid`` the learning rate belongs to what is compared: each run of each arm, the baseline's too, first
    trains with every rate of the grid on four fifths of its training part, takes the one that is best on the other
    fifth, and trains with it on the whole training part. So neither the validation nor the test part has a say in it.

    Args:
        module_factory: makes the module; called with no argument for each run, or with ``lr=`` if there is a grid.
        datamodule: makes the LightningDataModule; called with ``seed=``, for each run.
        arms: name to :class:`Arm`, or to a function that makes its callbacks; the baseline is added.
        question: ``"screen"`` trains the baseline and each trick alone; ``"recipe"`` the baseline, all tricks together
            (``"recipe"``), and all less one at a time (``"recipe less …"``), which are compared with the recipe.
        num_seeds: the seeds are 0 to ``num_seeds`` − 1. Below 10 the study is a demonstration.
        max_epochs: of each run.
        metric: the name that the module logs in ``validation_step``.
        mode: ``"max"`` if a larger metric is better, ``"min"`` if a smaller one is.
        directory: where finished runs are kept, and found again; ``None`` keeps them in memory.
        trainer_options: more arguments for each Trainer, for example ``accelerator`` or ``strategy``.
        lr_grid: the learning rates among which each run of each arm chooses; ``None`` for the module's own.
        margin: the largest difference that does not matter, to be stated before the study is looked at; ``None`` for no
            claims of no difference.
        confidence: of the intervals; 1 less it is the share of studies that make any false claim.
        settings: more plain values that make two studies different ones, such as the name of the data.

    Attributes:
        arms: name to the tricks that the arm joins, the baseline among them, in running order.

    Raises:
        TypeError: if a factory cannot be called with the arguments above, an arm is neither an :class:`Arm` nor a
            function, or a number or a string is none.
        ValueError: if a number is out of its range, a name is taken, the arms do not suit the question, or
            ``trainer_options`` holds callbacks (they belong to an arm) or ``max_epochs``; or ``directory`` holds
            another study.

    Example:
        >>> from lightning_tricks.study import Ablation, Arm
        >>> arms = {"mixup": Arm(lambda: [Mixup()])}  # doctest: +SKIP
        >>> study = Ablation(Net, Data, arms, num_seeds=10, directory="study")  # doctest: +SKIP
        >>> study.run().write("study")  # doctest: +SKIP
        >>> study.confirm("mixup").rows[1].verdict  # doctest: +SKIP
    """

    def __init__(
        self,
        module_factory: Callable[..., pl.LightningModule],
        datamodule: Callable[..., pl.LightningDataModule],
        arms: Mapping[str, Arm | Callable[[], Sequence[pl.Callback]]],
        *,
        question: str = "screen",
        num_seeds: int = 3,
        max_epochs: int = 10,
        metric: str = "val_acc",
        mode: str = "max",
        directory: Path | str | None = None,
        trainer_options: Mapping[str, Any] | None = None,
        lr_grid: Sequence[float] | None = None,
        margin: float | None = None,
        confidence: float = 0.95,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.arms = arms_of(question, arms)
        self.num_seeds = check_integer("Ablation", "num_seeds", num_seeds, low=1)
        self.max_epochs = check_integer("Ablation", "max_epochs", max_epochs, low=1)
        self.mode = check_choice("Ablation", "mode", mode, ("max", "min"))
        self.confidence = check_number("Ablation", "confidence", confidence, above=0, below=1)
        self.margin = None if margin is None else check_number("Ablation", "margin", margin, above=0)
        self.lr_grid = None if lr_grid is None else _checked_grid(lr_grid)
        self.directory = None if directory is None else Path(directory)
        options = dict(trainer_options or {})
        if taken := sorted({"callbacks", "max_epochs"} & options.keys()):
            raise ValueError(
                f"Ablation: `trainer_options` holds {taken}; callbacks belong to the arms, epochs to `max_epochs`."
            )
        _check_call("datamodule", datamodule, seed=0)
        with_lr = {} if lr_grid is None else {"lr": 0.1}
        _check_call("module_factory", module_factory, **with_lr)
        self.references = references_of(question, self.arms)
        self._training = Training(module_factory, datamodule, metric, {"max_epochs": self.max_epochs, **options})
        with isolated_generators():
            described = {name: [_describe_trick(trick) for trick in tricks] for name, tricks in self.arms.items()}
        self._description = {
            "question": question,
            "arms": described,
            "module_factory": describe(module_factory),
            "datamodule": describe(datamodule),
            "num_seeds": self.num_seeds,
            "max_epochs": self.max_epochs,
            "metric": metric,
            "mode": self.mode,
            "trainer_options": describe(options),
            "lr_grid": self.lr_grid,
            "settings": describe(settings or {}),
        }
        self._store = RunStore(self.directory, self._description)
        self._confirmation: RunStore | None = None

    def runs(self, shard: str | tuple[int, int] | None = None) -> list[tuple[str, int]]:
        """The (arm, seed) pairs in running order: all arms of a seed, then the next, so that a slow spell hits all.

        Args:
            shard: ``(i, n)`` or ``"i/n"`` for the i-th of n shares, counted from 1; ``None`` for all.

        Raises:
            TypeError: if ``shard`` is neither.
            ValueError: if it is no share.
        """
        pairs = [(arm, seed) for seed in range(self.num_seeds) for arm in self.arms]
        index, count = parse_shard(shard)
        return pairs[index - 1 :: count]

    def run(self, *, shard: str | tuple[int, int] | None = None, progress: bool = True) -> StudyResult:
        """Does the runs that are not finished yet, each on disk as soon as it is.

        Killed at any moment and started again, it goes on where it stopped. Several processes, on one machine or many,
        may each do a share into one directory; give each another ``shard``.

        Args:
            shard: ``(i, n)`` or ``"i/n"`` for the i-th of n shares, counted from 1; ``None`` for all.
            progress: whether to show on stderr how far it is.

        Returns:
            All that is finished, by whichever process.

        Raises:
            MisconfigurationException: if the module did not log the metric.
            KeyboardInterrupt: after Ctrl-C; what was finished stays.
            OSError: if finished runs could still not be written at the end.
        """
        self._do(self.runs(shard), self._store, part="validation", progress=progress)
        return self.result()

    def records(self) -> list[dict[str, Any]]:
        """The finished runs, in running order.

        Returns:
            Plain values each: ``arm``, ``seed``, ``metric`` (its name), ``value``, ``diverged``, ``lr`` (``None``
            without a grid), ``seconds`` (of preparation and training), ``peak_memory`` (bytes), ``train_size`` and
            ``eval_size`` (samples).
        """
        return [dict(record) for record in self.result().records]

    def result(self) -> StudyResult:
        """What the finished runs say; nothing is trained."""
        return self._result(self._store, self.runs(), self.references, part="validation")

    def confirm(self, arm: str, *, num_seeds: int = 10, progress: bool = True) -> StudyResult:
        """Compares one chosen arm with the baseline on the test part, with seeds that the study did not use.

        The test part answers one question once: the choice is kept in ``directory/confirm``, asked again it goes on
        or gives the same answer, and another arm is refused. The metric comes from ``validation_step`` on the loader of
        ``test_dataloader()``. All seeds share the test part, so that the result speaks of it.

        Args:
            arm: the one that the study has spoken for.
            num_seeds: the seeds are the next after the study's.
            progress: whether to show on stderr how far it is.

        Returns:
            Two rows, the baseline and the arm.

        Raises:
            TypeError: if ``num_seeds`` is no integer.
            ValueError: if there is no such arm, it is the baseline, ``num_seeds`` is below 1, or another confirmation
                was begun.
        """
        check_integer("Ablation.confirm", "num_seeds", num_seeds, low=1)
        check_choice("Ablation.confirm", "arm", arm, tuple(self.references))
        description = self._description | {"confirmed arm": arm, "num_seeds": num_seeds, "part": "test"}
        if self._confirmation is None:
            directory = None if self.directory is None else self.directory / "confirm"
            self._confirmation = RunStore(directory, description, remedy=_ONCE)
        self._confirmation.check(description)
        seeds = range(self.num_seeds, self.num_seeds + num_seeds)
        pairs = [(name, seed) for seed in seeds for name in (BASELINE, arm)]
        self._do(pairs, self._confirmation, part="test", progress=progress)
        return self._result(self._confirmation, pairs, {arm: BASELINE}, part="test")

    def _do(self, pairs: Sequence[tuple[str, int]], store: RunStore, *, part: str, progress: bool) -> None:
        await_other_ranks()
        is_writer = _is_rank_zero()
        if is_writer:
            store.open()
        # Decided once: all ranks of a distributed run must do the same runs, and this one will write while others read.
        finished = store.finished()
        missing = [(arm, seed) for arm, seed in pairs if (arm, seed, None) not in finished]
        epochs = self.max_epochs * (1 + len(self.lr_grid or ()))
        try:
            with StudyProgress(runs=len(missing), epochs=epochs, show=progress and is_writer) as bar:
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
            measured = self._training.run(
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

    def _result(
        self, store: RunStore, pairs: Sequence[tuple[str, int]], references: Mapping[str, str], *, part: str
    ) -> StudyResult:
        finished = store.finished()
        runs = [finished.get((arm, seed, None)) for arm, seed in pairs]
        return StudyResult(
            records=[{key: value for key, value in run.items() if key != "trial"} for run in runs if run is not None],
            missing=[pair for pair, run in zip(pairs, runs, strict=True) if run is None],
            settings=store.description,
            references=references,
            part=part,
            mode=self.mode,
            confidence=self.confidence,
            margin=self.margin,
        )


_ONCE = "the test part answers one question once"


def _is_rank_zero() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def _describe_trick(trick: Arm) -> dict[str, Any]:
    described = {name: describe(getattr(trick, name)) for name in ("module_factory", "prepare")}
    # What a function of the prepared makes is not known before the run.
    make = trick.callbacks
    described["callbacks"] = describe(make) if make is None or trick.prepare is not None else describe(make())
    return described


def _checked_grid(lr_grid: Sequence[float]) -> list[float]:
    grid = [check_number("Ablation", "lr_grid", lr, above=0) for lr in lr_grid]
    if len(set(grid)) < max(2, len(grid)):
        raise ValueError(f"Ablation: expected `lr_grid` to have two or more different rates, but got {grid}.")
    return grid


def _check_call(name: str, function: object, **arguments: Any) -> None:
    if not callable(function):
        raise TypeError(f"Ablation: expected `{name}` to be a function, but got {type(function).__name__}.")
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        call = ", ".join(f"{argument}=" for argument in arguments)
        raise TypeError(f"Ablation calls {name}({call}), but the one given does not take that ({error}).") from error
