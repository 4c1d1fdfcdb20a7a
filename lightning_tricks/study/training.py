"""One run of a study: a training with one seed, and the metric of its last weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks.study.arm import Arm
from lightning_tricks.study.cost import Cost
from lightning_tricks.study.isolation import (
    isolated_generators,
    keyboard_interrupt_stays_one,
    quiet,
    seed_global_generators,
)
from lightning_tricks.study.lr_choice import hold_out
from lightning_tricks.study.parts import part_size

HELD_OUT = "held out"


@dataclass(frozen=True)
class Training:
    """Everything that is the same in all runs of a study.

    Attributes:
        module_factory: makes the module.
        datamodule: makes the datamodule; called with ``seed=``.
        metric: the name that the module logs in ``validation_step``.
        trainer_options: of each Trainer, ``max_epochs`` among them.
    """

    module_factory: Callable[..., pl.LightningModule]
    datamodule: Callable[..., pl.LightningDataModule]
    metric: str
    trainer_options: Mapping[str, Any]

    def run(
        self,
        arm: Sequence[Arm],
        seed: int,
        *,
        part: str,
        lr: float | None = None,
        on_epoch_end: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Trains one arm with one seed and measures it.

        Args:
            arm: the tricks that it joins.
            seed: of the split, the weights and the order of the data.
            part: what it is measured on: ``"validation"``; ``"test"``, by the module's ``validation_step`` too; or
                ``"held out"``, a fifth of the training part that this run is not trained on.
            lr: given to the module factory as ``lr=``; ``None`` for no argument.
            on_epoch_end: called after each training epoch.

        Returns:
            Plain values, the same on all ranks: ``metric``, ``value``, ``diverged``, ``lr``, ``seconds``,
            ``peak_memory``, ``train_size`` and ``eval_size``.

        Raises:
            TypeError: if the training or the evaluated part is not one DataLoader whose samples can be counted.
            MisconfigurationException: if the module did not log the metric.
            KeyboardInterrupt: after Ctrl-C, when Lightning has shut the training down.
        """
        with isolated_generators(), quiet(), keyboard_interrupt_stays_one():
            datamodule = self._datamodule(seed, part)
            with Cost() as cost:
                trainer, module = self._fit(arm, seed, datamodule, part=part, lr=lr, on_epoch_end=on_epoch_end)
            trained = trainer.train_dataloader, trainer.num_training_batches
            if part == "test":
                datamodule.setup("test")
                datamodule.val_dataloader = datamodule.test_dataloader  # type: ignore[method-assign]
            results = trainer.validate(module, datamodule=datamodule, verbose=False)
            evaluated = trainer.val_dataloaders, trainer.num_val_batches
            # Counted last, for a sampler may draw from the global generators.
            train_size = part_size(trainer, *trained, part="training")
            eval_size = part_size(trainer, *evaluated, part=part if part == "test" else "validation")
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
            "train_size": train_size,
            "eval_size": eval_size,
        }
        # A metric that is not synchronised differs between ranks; what one of them decides by it must hold for all.
        return trainer.strategy.broadcast(record)

    def _datamodule(self, seed: int, part: str) -> pl.LightningDataModule:
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
        part: str,
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
