"""One run of a study: a training with one seed, its cost, and the metric of its last weights."""

import logging
import math
import random
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks.study.arm import Arm
from lightning_tricks.study.runs.cost import Cost
from lightning_tricks.study.runs.parts import hold_out, read_part, refuse_overlap

Part = Literal["validation", "test", "held out"]
HELD_OUT: Literal["held out"] = "held out"


@dataclass(frozen=True)
class Training:
    """Everything that is the same in all runs of a study; ``trainer_options`` hold ``max_epochs``."""

    module_factory: Callable[..., pl.LightningModule]
    datamodule: Callable[..., pl.LightningDataModule]
    metric: str
    trainer_options: Mapping[str, Any]

    def run(
        self,
        arm: Sequence[Arm],
        seed: int,
        *,
        part: Part,
        lr: float | None = None,
        on_epoch_end: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Trains one arm with one seed and measures it on a part.

        ``"test"`` is measured by the module's ``validation_step`` too; ``"held out"`` is a fifth of the training part
        that this run is not trained on. ``lr`` goes to the module factory. The record is the same on all ranks.
        """
        with isolated_generators(), quiet(), reraise_keyboard_interrupt():
            datamodule = self._datamodule(seed, part)
            with Cost() as cost:
                trainer, module = self._fit(arm, seed, datamodule, part=part, lr=lr, on_epoch_end=on_epoch_end)
            trained = trainer.train_dataloader, trainer.num_training_batches
            if part == "test":
                datamodule.setup("test")
                datamodule.val_dataloader = datamodule.test_dataloader  # type: ignore[method-assign]
            results = trainer.validate(module, datamodule=datamodule, verbose=False)
            evaluated = trainer.val_dataloaders, trainer.num_val_batches
            named = part if part == "test" else "validation"
            # Read last, since that draws from the global generators; seeded, so that equal parts have equal digests.
            seed_global_generators(0)
            training = read_part(trainer, *trained, part="training")
            seed_global_generators(0)
            measured = read_part(trainer, *evaluated, part=named)
            refuse_overlap(training, measured, part=named)
        logged = results[0] if results else {}
        if self.metric not in logged:
            raise MisconfigurationException(
                f"Ablation needs validation_step to log {self.metric!r}, but the module logs only {sorted(logged)}."
            )
        value = float(logged[self.metric])
        finite = math.isfinite(value) and all(bool(weight.isfinite().all()) for weight in module.parameters())
        record = {
            "metric": self.metric,
            "value": value,
            "diverged": not finite,
            "lr": lr,
            "seconds": cost.seconds,
            "peak_memory": cost.peak_memory,
            "train_size": training.size,
            "eval_size": measured.size,
            "train_part": training.digest,
            "eval_part": measured.digest,
            "equal_samples": len(training.hashes & measured.hashes),
        }
        # A metric that is not synchronised differs between ranks; what one of them decides by it must hold for all.
        return trainer.strategy.broadcast(record)

    def _datamodule(self, seed: int, part: Part) -> pl.LightningDataModule:
        datamodule = self.datamodule(seed=seed)
        if part == HELD_OUT:
            hold_out(datamodule, seed=seed)
        return datamodule

    def _fit(
        self,
        arm: Sequence[Arm],
        seed: int,
        datamodule: pl.LightningDataModule,
        *,
        part: Part,
        lr: float | None,
        on_epoch_end: Callable[[], None] | None,
    ) -> tuple[pl.Trainer, pl.LightningModule]:
        factory, makers = self.module_factory, []
        for trick in arm:
            prepared: tuple[Any, ...] = ()
            if trick.prepare is not None:
                seed_global_generators(seed)
                prepared = (trick.prepare(_training_alone(self._datamodule(seed, part)), seed),)
            if trick.module_factory is not None:
                factory = partial(trick.module_factory, *prepared)
            makers.append(partial(trick.make_callbacks, *prepared))
        seed_global_generators(seed)
        module = factory() if lr is None else factory(lr=lr)
        callbacks = [callback for make in makers for callback in make()]
        if on_epoch_end is not None:
            callbacks.append(LambdaCallback(on_train_epoch_end=lambda trainer, module: on_epoch_end()))
        # Copied, since a strategy or a logger belongs to the first Trainer that gets it.
        options = _QUIET_TRAINER | deepcopy(dict(self.trainer_options))
        trainer = pl.Trainer(**options, callbacks=callbacks)
        # Seeded again: a module of another make has drawn another number of weights, and must not move the data.
        seed_global_generators(seed)
        trainer.fit(module, datamodule=datamodule)
        return trainer, module


_QUIET_TRAINER = {
    "num_sanity_val_steps": 0,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def _training_alone(datamodule: pl.LightningDataModule) -> pl.LightningDataModule:
    """Sets a datamodule up for fit and takes all but its training part away."""

    def refuse() -> None:
        raise MisconfigurationException("Ablation: `prepare` may see the training part alone.")

    datamodule.prepare_data()
    datamodule.setup("fit")
    # As if it had none, so that a training of the teacher with this datamodule goes without validation.
    datamodule.val_dataloader = MethodType(pl.LightningDataModule.val_dataloader, datamodule)  # type: ignore[method-assign]
    datamodule.test_dataloader = datamodule.predict_dataloader = refuse  # type: ignore[method-assign]
    return datamodule


def seed_global_generators(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def isolated_generators() -> Iterator[None]:
    """Restores the states of the global generators, also after an exception."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)


@contextmanager
def reraise_keyboard_interrupt() -> Iterator[None]:
    """Turns the SystemExit that Lightning raises on Ctrl-C into KeyboardInterrupt, and restores the SIGINT handler."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def quiet() -> Iterator[None]:
    """Hides Lightning's notes on the hardware and on the end of each fit; other warnings still show."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The .*dataloader.* does not have many workers")
            warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
