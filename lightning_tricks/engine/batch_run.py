"""How the batch tricks of one fit come into ``training_step``, and out of it again."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature

from lightning_tricks.engine.checkpoint_entry import read_entry, write_entry
from lightning_tricks.engine.fields import Key
from lightning_tricks.engine.further_entries import FurtherEntry, remark_on
from lightning_tricks.engine.method_patch import MethodPatch, remove_patches
from lightning_tricks.engine.randomness import BatchRandomness
from lightning_tricks.engine.shared_run import check_free

Observer = Callable[[Any, Any, "list[tuple[BatchHooks, Any]]"], None]

# The seed belongs to the Trainer, not to a trick that may serve another Trainer next. It outlives the run, since
# checkpoints are also saved after fit.
_RUN_SEEDS: WeakKeyDictionary[pl.Trainer, int] = WeakKeyDictionary()


def in_order(tricks: Sequence[BatchHooks], *, seed: int, rank: int) -> list[tuple[BatchHooks, BatchRandomness]]:
    """Returns the tricks in the order in which they apply, each with what it draws from.

    Args:
        tricks: in the order of the callback list.
        seed: the run's; a trick's own seed goes before it.
        rank: the global rank of the process.
    """
    seen: Counter[str] = Counter()
    ordered = []
    for trick in sorted(tricks, key=lambda trick: trick.comes_last):
        own = seed if trick.seed is None else trick.seed
        ordered.append((trick, BatchRandomness(own, name=trick.name, ordinal=seen[trick.name], rank=rank)))
        seen[trick.name] += 1
    return ordered


class BatchRun:
    """Hands ``training_step`` the batch that the tricks have made of the one it was given.

    It is armed for one training batch at a time. The first call of ``training_step`` for that batch computes the new
    one from what it receives; later calls (an optimizer's closure) get the same. The ``observer`` of a batch is called
    once with the batch as it was given, the new one, and each trick with what it has drawn.
    """

    def __init__(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, tricks: Sequence[BatchHooks], *, seed: int
    ) -> None:
        step = pl_module.training_step
        remove_patches(pl_module, "training_step")
        if is_param_in_hook_signature(step, "dataloader_iter", explicit=True):
            raise MisconfigurationException(
                f"{tricks[0].name} rewrites the batch that training_step receives, but this training_step takes "
                "`dataloader_iter` and fetches its batches itself; take `batch` instead"
            )
        self.trainer = trainer
        self.tricks = tricks
        self.start_draws(seed)
        self.observer: Observer | None = None
        self._remarked = False
        self._armed = False
        self._made: Any = None
        self._patch = MethodPatch(pl_module, "training_step", self._step)
        self._patch.install()

    def start_draws(self, seed: int) -> None:
        """Lets every batch from now on be drawn as in a run with this seed."""
        self._ordered = in_order(self.tricks, seed=seed, rank=self.trainer.global_rank)

    def check_loaders(self) -> None:
        """Refuses the batches of several loaders, unless every trick was told where to look."""
        loader = self.trainer.fit_loop._combined_loader
        count = 0 if loader is None else len(loader.flattened)
        unsure = [trick.name for trick in self.tricks if not trick.knows_its_input]
        if count > 1 and unsure:
            raise MisconfigurationException(
                f"{unsure[0]} needs batches of one train dataloader, but there are {count}; say which entry of the "
                "combined batch is meant with input_key= and target_key="
            )

    def arm(self) -> None:
        """Makes the next call of ``training_step`` compute a new batch."""
        self._armed, self._made = True, None

    def disarm(self) -> None:
        """Makes ``training_step`` the module's own again until the next training batch."""
        self._armed, self._made, self.observer = False, None, None

    def close(self) -> None:
        """Puts the module's own ``training_step`` back."""
        self.disarm()
        self._patch.remove()

    def _step(self, training_step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._armed:
            return training_step(*args, **kwargs)
        bound = list(args)
        name = None if bound else next(iter(inspect.signature(training_step).parameters))
        if self._made is None:
            self._made = self._rewrite(bound[0] if name is None else kwargs[name])
        if name is None:
            bound[0] = self._made
        else:
            kwargs[name] = self._made
        return training_step(*bound, **kwargs)

    def _rewrite(self, given: Any) -> Any:
        epoch = self.trainer.current_epoch
        batches_completed = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        batch, drawn = given, []
        for trick, randomness in self._ordered:
            batch, params = trick.rewrite(batch, randomness.at(batches_completed), epoch=epoch)
            drawn.append((trick, params))
        if not self._remarked:
            self._remarked = True
            if remark := remark_on([(trick.name, trick.left_alone(given)) for trick in self.tricks]):
                pl.utilities.rank_zero_warn(remark)
        observer, self.observer = self.observer, None
        if observer is not None:
            observer(given, batch, drawn)
        return batch


class BatchHooks(pl.Callback):
    """The part of a batch trick that Lightning calls: the first trick of the list acts for all of them."""

    seed: int | None
    start_epoch: int
    comes_last: bool = False
    """Whether the trick applies after all others, whatever its place in the list."""
    mixes: bool = False
    """Whether the trick mixes the samples of a batch."""
    cuts: bool = False
    """Whether it mixes them so that each pixel of the result comes from one image, and a mask of classes stays one."""
    _run: BatchRun | None = None

    @property
    def name(self) -> str:
        """The class name, as messages and draws use it."""
        return type(self).__name__

    @property
    def knows_its_input(self) -> bool:
        """Whether the user has said where the images are."""
        raise NotImplementedError

    def rewrite(self, batch: Any, rng: np.random.Generator, *, epoch: int | None = None) -> tuple[Any, Any]:
        """Returns the new batch and what was drawn for it."""
        raise NotImplementedError

    def left_alone(self, batch: Any) -> tuple[list[Key], list[FurtherEntry]]:
        """Returns where the target is, and what belongs to the images beside it but will not be mixed with them."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        # A copy belongs to no run; Lightning's two would bring the module along.
        return {name: value for name, value in vars(self).items() if name not in ("_run", "log", "log_dict")}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Puts the stand-in for ``training_step`` in place: the first batch trick of the list does it for all."""
        if stage != "fit":
            return
        if self._run is not None:
            check_free(self.name, self._run.trainer, trainer)
            self._close()
        tricks = _batch_tricks(trainer)
        if self not in tricks[:1]:
            return
        mixing = [trick.name for trick in tricks if trick.mixes]
        if len(mixing) > 1:
            cutting = [trick.name for trick in tricks if trick.cuts]
            wrong = (
                f". {' and '.join(cutting)} both cut: the later one may cover what the earlier one has put in, so the "
                "weight of a label is not the share of its pixels"
            )
            pl.utilities.rank_zero_warn(
                f"{' and '.join(mixing)} stand in one callback list, so every batch is mixed by each of them; to have "
                f"one of them for each batch, put them into a RandomChoice{wrong if len(cutting) > 1 else ''}"
            )
        for trick in tricks:
            if 0 < (trainer.max_epochs or 0) <= trick.start_epoch:
                pl.utilities.rank_zero_warn(
                    f"{trick.name} begins at start_epoch={trick.start_epoch}, but the run ends after "
                    f"{trainer.max_epochs} epochs: it touches no batch"
                )
        # A second fit with the same Trainer goes on.
        if trainer not in _RUN_SEEDS or not trainer.global_step:
            _RUN_SEEDS[trainer] = trainer.strategy.broadcast(torch.initial_seed())
        self._run = BatchRun(trainer, pl_module, tricks, seed=_RUN_SEEDS[trainer])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses loaders whose batches the tricks cannot read."""
        if (run := self._run_of(trainer)) is not None:
            run.check_loaders()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Arms the stand-in for this batch."""
        if (run := self._run_of(trainer)) is not None:
            run.arm()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Disarms the stand-in."""
        if batch is None:
            raise TypeError(f"{self.name} needs a batch, but the train dataloader gave None at batch_idx={batch_idx}")
        self._disarm(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Disarms the stand-in."""
        self._disarm(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Disarms the stand-in, also after a hook that ended the epoch before its batch was trained on."""
        self._disarm(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the seed of this Trainer's run."""
        if trainer in _RUN_SEEDS:
            write_entry(checkpoint, "batch", {"seed": _RUN_SEEDS[trainer]})

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the seed of the run that is resumed."""
        entry = read_entry(checkpoint, "batch")
        if (run := self._run_of(trainer)) is not None and entry is not None:
            _RUN_SEEDS[trainer] = entry["seed"]
            run.start_draws(entry["seed"])

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Puts the module's own ``training_step`` back."""
        self._end(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Puts the module's own ``training_step`` back."""
        self._end(trainer)

    def _run_of(self, trainer: pl.Trainer) -> BatchRun | None:
        """The run, if it is this Trainer's: another one may validate in the middle of it."""
        return self._run if self._run is not None and self._run.trainer is trainer else None

    def _disarm(self, trainer: pl.Trainer) -> None:
        if (run := self._run_of(trainer)) is not None:
            run.disarm()

    def _end(self, trainer: pl.Trainer) -> None:
        if self._run_of(trainer) is not None:
            self._close()

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None


def _batch_tricks(trainer: pl.Trainer) -> list[BatchHooks]:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, BatchHooks)]
