"""The runner of an ablation: the same training with one thing changed at a time."""

import logging
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_tricks.functional.checks import check_integer

BASELINE = "baseline"


@dataclass(frozen=True)
class Arm:
    """What one arm of a study does differently from the baseline.

    Callbacks come from a function, since a callback may remember its last run.

    Attributes:
        callbacks: makes the arm's callbacks, anew for each run.
        module_factory: makes the arm's module where that differs (another optimizer); ``None`` for the study's own.
    """

    callbacks: Callable[[], Sequence[pl.Callback]] = tuple
    module_factory: Callable[[], pl.LightningModule] | None = None


class Ablation:
    """Trains every arm and the baseline once for each seed.

    A seed stands for a new split, new first weights and a new order of the data, the same for all arms: each run builds
    its data with ``datamodule(seed=seed)`` and its module under that seed, and puts the global generators back. The
    metric is that of the weights after the last epoch, on the validation part; the test part is never read.

    Args:
        module_factory: makes the module; called with no argument, for each run.
        datamodule: makes the LightningDataModule; called with ``seed=``, for each run.
        arms: name to :class:`Arm`; the baseline, with no callback, is added under the name ``"baseline"``.
        num_seeds: the seeds are 0 to ``num_seeds`` − 1.
        max_epochs: of each run.
        metric: the name that the module logs in ``validation_step``.
        trainer_options: more arguments for each Trainer, for example ``accelerator``.

    Raises:
        TypeError: if ``module_factory`` or ``datamodule`` cannot be called, an arm is not an :class:`Arm`, or a count
            is not an integer.
        ValueError: if ``num_seeds`` or ``max_epochs`` is below 1, an arm is called ``"baseline"``, or
            ``trainer_options`` holds callbacks (they belong to an arm).

    Example:
        >>> from lightning_tricks.study import Ablation, Arm, compare
        >>> study = Ablation(Net, Data, {"mixup": Arm(lambda: [Mixup()])}, max_epochs=10)  # doctest: +SKIP
        >>> compare(study.records())  # doctest: +SKIP
    """

    def __init__(
        self,
        module_factory: Callable[[], pl.LightningModule],
        datamodule: Callable[..., pl.LightningDataModule],
        arms: Mapping[str, Arm],
        *,
        num_seeds: int = 3,
        max_epochs: int = 10,
        metric: str = "val_acc",
        trainer_options: Mapping[str, Any] | None = None,
    ) -> None:
        for name, factory in {"module_factory": module_factory, "datamodule": datamodule}.items():
            if not callable(factory):
                raise TypeError(f"Ablation needs {name} to be a function, but got {type(factory).__name__}")
        for name, arm in arms.items():
            if not isinstance(arm, Arm):
                raise TypeError(f"Ablation needs arm {name!r} to be an Arm, but got {type(arm).__name__}")
        if BASELINE in arms:
            raise ValueError(
                f"Ablation needs another name than {BASELINE!r}, that of the arm that the others are compared with"
            )
        self.trainer_options = dict(trainer_options or {})
        if "callbacks" in self.trainer_options:
            raise ValueError(
                "Ablation needs trainer_options without callbacks; give those to the arms that they belong to"
            )
        self.module_factory = module_factory
        self.datamodule = datamodule
        self.arms = {BASELINE: Arm(), **arms}
        self.num_seeds = check_integer("Ablation", "num_seeds", num_seeds, low=1)
        self.max_epochs = check_integer("Ablation", "max_epochs", max_epochs, low=1)
        self.metric = metric

    def runs(self) -> list[tuple[str, int]]:
        """The (arm, seed) pairs in running order: all arms of a seed, then the next, so that a slow spell hits all."""
        return [(arm, seed) for seed in range(self.num_seeds) for arm in self.arms]

    def records(self, on_epoch_end: Callable[[], None] | None = None) -> Iterator[dict[str, Any]]:
        """Runs the study and yields each run's record (see :meth:`run`) as soon as that run has ended."""
        for arm, seed in self.runs():
            yield self.run(arm, seed, on_epoch_end=on_epoch_end)

    def run(self, arm: str, seed: int, *, on_epoch_end: Callable[[], None] | None = None) -> dict[str, Any]:
        """Trains one arm with one seed.

        Args:
            arm: the arm's name.
            seed: of the split, the weights and the order of the data.
            on_epoch_end: called after each training epoch, for a progress bar.

        Returns:
            Plain values: ``arm``, ``seed``, ``metric`` (its name), ``value``, ``seconds`` (of the training alone),
            ``train_size`` and ``validation_size`` (samples).

        Raises:
            KeyError: if there is no such arm.
            TypeError: if the training or the validation part is not one DataLoader of a data set with a length.
            MisconfigurationException: if the module did not log the metric.
        """
        spec = self.arms[arm]
        with isolate_rng(), _quiet():
            datamodule = self.datamodule(seed=seed)
            _seed_global_generators(seed)
            module = (spec.module_factory or self.module_factory)()
            trainer = self._trainer([*spec.callbacks(), *_progress_callbacks(on_epoch_end)])
            # Seeded again: a module of another make has drawn another number of weights, and must not move the data.
            _seed_global_generators(seed)
            start = time.perf_counter()
            trainer.fit(module, datamodule=datamodule)
            seconds = time.perf_counter() - start
            train_size = _num_samples(trainer.train_dataloader, "training")
            results = trainer.validate(module, datamodule=datamodule, verbose=False)
            validation_size = _num_samples(trainer.val_dataloaders, "validation")
        if self.metric not in results[0]:
            raise MisconfigurationException(
                f"Ablation needs {self.metric!r} to be logged in validation_step, but got {sorted(results[0])}"
            )
        return {
            "arm": arm,
            "seed": seed,
            "metric": self.metric,
            "value": float(results[0][self.metric]),
            "seconds": seconds,
            "train_size": train_size,
            "validation_size": validation_size,
        }

    def _trainer(self, callbacks: list[pl.Callback]) -> pl.Trainer:
        defaults = {
            "max_epochs": self.max_epochs,
            "num_sanity_val_steps": 0,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        return pl.Trainer(**(defaults | self.trainer_options), callbacks=callbacks)


def _seed_global_generators(seed: int) -> None:
    """Seeds what module constructors and shuffling loaders draw from; the caller puts the old state back."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _num_samples(loader: Any, part: str) -> int:
    samples = getattr(loader, "dataset", None)
    if not isinstance(samples, Sized):
        raise TypeError(f"Ablation needs one {part} DataLoader of a data set with a length, but got {loader!r}")
    return len(samples)


def _progress_callbacks(on_epoch_end: Callable[[], None] | None) -> list[pl.Callback]:
    if on_epoch_end is None:
        return []
    return [LambdaCallback(on_train_epoch_end=lambda trainer, module: on_epoch_end())]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's notes about the hardware and the end of each fit off the screen; its warnings still show."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The .*dataloader.* does not have many workers")
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
