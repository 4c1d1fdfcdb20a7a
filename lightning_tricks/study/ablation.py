"""The runner of an ablation: the same training with one thing changed at a time."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl

from lightning_tricks.functional.checks import check_choice, check_integer, check_number
from lightning_tricks.study.arm import BASELINE, Arm, Question, arms_of, check_call, check_rates, references_of
from lightning_tricks.study.comparison import Mode, direction
from lightning_tricks.study.fingerprint import describe, settled, without_source
from lightning_tricks.study.report import StudyResult
from lightning_tricks.study.runs.runner import Runner, parse_shard
from lightning_tricks.study.runs.store import RunStore
from lightning_tricks.study.runs.training import Training, isolated_generators, seed_global_generators

_CONFIRMED_ONCE = "the test part answers one question once"


class Ablation:
    """Trains every arm and the baseline once per seed, and compares them.

    A seed stands for a new split, new first weights and a new order of the data, the same for all arms: each run builds
    its data with ``datamodule(seed=seed)`` and its module under that seed, and puts the global generators back. The
    metric is that of the weights after the last epoch, on the validation part; the test part is not read before
    :meth:`confirm`. Where the validation part holds samples that are trained on, or the test part changes with the
    seed, the study stops; parts that do not change with the seed are noted in the result.

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
        mode: ``"max"`` if a larger metric is better, ``"min"`` if a smaller one is; ``None`` takes it from the metric's
            name, such as ``"val_acc"`` or ``"val_loss"``.
        directory: where finished runs are kept, and found again; ``None`` keeps them in memory.
        trainer_options: more arguments for each Trainer, for example ``accelerator`` or ``strategy``.
        lr_grid: the learning rates among which each run of each arm chooses; ``None`` for the module's own.
        margin: the largest difference that does not matter, in the metric's unit (0.005 is half a point of an
            accuracy), stated before the first run; ``None`` for no claims of no difference.
        confidence: of the intervals; 1 less it is the share of studies that make any false claim. It is stated before
            the first run, too.
        settings: more plain values that make two studies different ones, such as the name of the data.

    Attributes:
        arms: name to the tricks that the arm joins, the baseline among them, in running order.

    Raises:
        TypeError: if a factory is not a function or cannot be called with the arguments above, ``arms`` is no mapping,
            an arm is neither an :class:`Arm` nor a function, its ``callbacks`` makes no list of callbacks, or an
            argument has another type.
        ValueError: if ``mode`` is not given and the metric's name does not say it, a number is out of its range, a name
            is taken, the arms do not suit the question, or
            ``trainer_options`` holds callbacks (they belong to an arm) or ``max_epochs``; or ``directory`` holds
            another study, or a factory has no source text to know the study by.
        MisconfigurationException: if learning-rate tricks of an arm do not go together.

    Example:
        >>> from lightning_tricks import Arm, Mixup
        >>> from lightning_tricks.models.classifier import Classifier
        >>> from lightning_tricks.data.digits import DigitsDataModule
        >>> arms = {"mixup": Arm(lambda: [Mixup()])}
        >>> study = Ablation(Classifier, DigitsDataModule, arms, num_seeds=2, max_epochs=1)
        >>> [(row.arm, row.verdict) for row in study.run().rows]
        [('baseline', ''), ('mixup', 'inconclusive with 2 seeds')]
        >>> study.confirm("mixup", num_seeds=1).part
        'test'
    """

    def __init__(
        self,
        module_factory: Callable[..., pl.LightningModule],
        datamodule: Callable[..., pl.LightningDataModule],
        arms: Mapping[str, Arm | Callable[[], Sequence[pl.Callback]]],
        *,
        question: Question = "screen",
        num_seeds: int = 3,
        max_epochs: int = 10,
        metric: str = "val_acc",
        mode: Mode | None = None,
        directory: Path | str | None = None,
        trainer_options: Mapping[str, Any] | None = None,
        lr_grid: Sequence[float] | None = None,
        margin: float | None = None,
        confidence: float = 0.95,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        with_lr = {} if lr_grid is None else {"lr": 0.1}
        check_call("module_factory", module_factory, **with_lr)
        check_call("datamodule", datamodule, seed=0)
        self.arms = arms_of(question, arms)
        self.num_seeds = check_integer("Ablation", "num_seeds", num_seeds, low=1)
        self.max_epochs = check_integer("Ablation", "max_epochs", max_epochs, low=1)
        self.mode: Mode = check_choice("Ablation", "mode", mode or direction("Ablation", metric), ("max", "min"))
        confidence = check_number("Ablation", "confidence", confidence, above=0, below=1)
        margin = None if margin is None else check_number("Ablation", "margin", margin, above=0)
        self.lr_grid = None if lr_grid is None else _check_grid(lr_grid)
        self.directory = None if directory is None else Path(directory)
        options = _check_trainer_options(trainer_options or {})
        for name, tricks in self.arms.items():
            for trick in tricks:
                if trick.module_factory is not None:
                    prepared = () if trick.prepare is None else ("prepared",)
                    check_call(f"module_factory of arm {name!r}", trick.module_factory, *prepared, **with_lr)
        self.references = references_of(question, self.arms)
        training = Training(module_factory, datamodule, metric, {"max_epochs": self.max_epochs, **options})
        self._runner = Runner(self.arms, training, self.max_epochs, self.mode, self.lr_grid)
        with isolated_generators():
            for name, tricks in self.arms.items():
                check_rates(name, tricks)
            described = {name: [_describe_arm(trick) for trick in tricks] for name, tricks in self.arms.items()}
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
            "margin": margin,
            "confidence": confidence,
            "settings": describe(settings or {}),
        }
        if self.directory is not None and (names := without_source(self._description)):
            raise ValueError(
                f"Ablation needs the source of {names[0]} to know its study again in {self.directory}, but found "
                "none; define it in a file or a notebook cell, or give directory=None."
            )
        self._store = RunStore(self.directory, self._description)
        self._confirmation: RunStore | None = None
        self._margin_doubted = False

    @property
    def margin(self) -> float | None:
        """The largest difference that does not matter, as stated at the start."""
        return self._description["margin"]

    @property
    def confidence(self) -> float:
        """The confidence of the intervals, as stated at the start."""
        return self._description["confidence"]

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
            ValueError: if the validation part holds samples that are trained on.
            KeyboardInterrupt: after Ctrl-C; what was finished stays.
            OSError: if finished runs could still not be written at the end.
        """
        self._runner.do(self.runs(shard), self._store, part="validation", progress=progress)
        return self.result()

    def records(self) -> list[dict[str, Any]]:
        """The finished runs, in running order.

        Returns:
            Plain values each: ``arm``, ``seed``, ``metric`` (its name), ``value``, ``diverged``, ``lr`` (``None``
            without a grid), ``seconds`` (of preparation and training), ``peak_memory`` (bytes), ``train_size`` and
            ``eval_size`` (samples), ``train_part`` and ``eval_part`` (digests, equal for equal parts; ``None`` where
            a sampler or data set does not say what it gives), and ``equal_samples`` (of the two parts, as far as they
            were compared).
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
            ValueError: if there is no such arm, it is the baseline, ``num_seeds`` is below 1, another confirmation was
                begun, the test part holds samples that are trained on, or it changes with the seed.
        """
        check_integer("Ablation.confirm", "num_seeds", num_seeds, low=1)
        check_choice("Ablation.confirm", "arm", arm, tuple(self.references))
        description = self._description | {"confirmed arm": arm, "num_seeds": num_seeds, "part": "test"}
        if self._confirmation is None:
            directory = None if self.directory is None else self.directory / "confirm"
            self._confirmation = RunStore(directory, description, remedy=_CONFIRMED_ONCE)
        self._confirmation.check(description)
        seeds = range(self.num_seeds, self.num_seeds + num_seeds)
        pairs = [(name, seed) for seed in seeds for name in (BASELINE, arm)]
        self._runner.do(pairs, self._confirmation, part="test", progress=progress)
        return self._result(self._confirmation, pairs, {arm: BASELINE}, part="test")

    def _result(
        self,
        store: RunStore,
        pairs: Sequence[tuple[str, int]],
        references: Mapping[str, str],
        *,
        part: Literal["validation", "test"],
    ) -> StudyResult:
        finished = store.finished()
        runs = [finished.get((arm, seed, None)) for arm, seed in pairs]
        self._warn_unreachable_margin([run["value"] for run in runs if run is not None])
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

    def _warn_unreachable_margin(self, values: Sequence[float]) -> None:
        """Warns, once, of a margin that no difference of these values can exceed."""
        finite = [value for value in values if math.isfinite(value)]
        if self.margin is None or self.margin < 1 or self._margin_doubted or not finite:
            return
        if min(finite) >= 0 and max(finite) <= 1:
            self._margin_doubted = True
            warnings.warn(
                f"Ablation: no difference can be beyond margin={self.margin:g}, for all values of "
                f"{self._description['metric']} lie in [0, 1]. The margin is in the metric's unit: 5 points of an "
                "accuracy are margin=0.05.",
                stacklevel=4,
            )


def _describe_arm(trick: Arm) -> dict[str, Any]:
    """Plain values that are equal for equal arms."""
    described: dict[str, Any] = {}
    # What a function of the prepared makes is not known before the run.
    if trick.callbacks is not None and trick.prepare is None:
        made = []
        for _ in range(2):
            seed_global_generators(0)  # a teacher that is made here is the same in each process
            made.append(describe(trick.make_callbacks()))
        described["made"] = settled(*made)
    functions = {"callbacks": trick.callbacks, "module_factory": trick.module_factory, "prepare": trick.prepare}
    return described | {name: describe(value) for name, value in functions.items() if value is not None}


def _check_trainer_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of the options of each Trainer."""
    if taken := sorted({"callbacks", "max_epochs"} & options.keys()):
        raise ValueError(
            "Ablation needs trainer_options without callbacks, which belong to the arms, and without max_epochs, an "
            f"argument of its own, but got {taken}."
        )
    return dict(options)


def _check_grid(lr_grid: Sequence[float]) -> list[float]:
    """Returns the learning rates as floats."""
    grid = [check_number("Ablation", "lr_grid", lr, above=0) for lr in lr_grid]
    if len(set(grid)) < max(2, len(grid)):
        raise ValueError(f"Ablation needs lr_grid to hold two or more different rates, but got {grid}.")
    return grid
