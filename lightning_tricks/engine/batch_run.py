"""Installs the batch tricks around ``training_step`` for one fit, and gives each its random stream."""

from __future__ import annotations

import inspect
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch.utils.data import get_worker_info

from lightning_tricks.engine.located import remark_on
from lightning_tricks.engine.method_patch import MethodPatch, remove_patches
from lightning_tricks.engine.shared_run import Run, run_of


class BatchRandomness:
    """What one trick draws from in a run: for each batch a stretch of its own of one counter-based sequence.

    Philox computes its n-th number from n and a key. The key comes from the arguments, and a batch's stretch begins at
    its number times 2^128; so the generator of a batch is found without drawing what comes before it, and without the
    cost of seeding, which is several times that of a trick's draws.

    Args:
        seed: the run's seed, 0 or more.
        name: the trick's class name, so that adding a trick of another class changes no draw.
        ordinal: its position among the tricks of that class in the callback list.
        rank: the global rank of the process.
    """

    def __init__(self, seed: int, *, name: str, ordinal: int, rank: int) -> None:
        key = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()), ordinal, rank))
        self._bits = np.random.Philox(key)
        self._generator = np.random.Generator(self._bits)
        self._state: Any = self._bits.state  # numpy types it as what all its bit generators have in common

    def at(self, batch: int) -> np.random.Generator:
        """Returns the generator, set to where the draws of a batch begin; the next call sets the same one again.

        Args:
            batch: the number of training batches completed before this one, over all epochs.
        """
        self._state["state"]["counter"][2] = batch
        self._bits.state = self._state
        return self._generator


class FreeGenerator:
    """The generator of a trick that is used outside a Trainer: one sequence, not tied to batches.

    It starts from the trick's seed, or from torch's initial seed (which is read, not drawn from), so that
    ``seed_everything`` starts it again. Each worker of a data loader has a sequence of its own, which starts from the
    worker's seed too: that is another one in each epoch.
    """

    def __init__(self) -> None:
        self._started_from: tuple[int, int] | None = None
        self._generator = np.random.default_rng(0)

    def get(self, seed: int | None) -> np.random.Generator:
        """Returns the generator, started again if what it starts from has changed."""
        worker = get_worker_info()
        start = (torch.initial_seed() if seed is None else seed, 0 if worker is None else 1 + worker.seed)
        if start != self._started_from:
            self._started_from = start
            self._generator = np.random.default_rng(np.random.SeedSequence(start[0], spawn_key=(start[1],)))
        return self._generator


_HITS = (
    "{} makes shares of labels that are 0.0 or 1.0. Losses that are linear in the label stay exact, but torchmetrics "
    'refuse shares, and y.int() makes them 0. If a metric reads them in training, use labels="sample", which keeps 0 '
    "and 1, or y.long() in the data set and y.float() in the loss."
)
Observer = Callable[[Any, Any, "list[tuple[Any, Any]]"], None]


def in_order(tricks: Sequence[Any], *, seed: int, rank: int) -> list[tuple[Any, BatchRandomness]]:
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


class BatchRun(Run):
    """Hands ``training_step`` the batch that the tricks have made of the one it was given.

    It is armed for one training batch at a time. The first call of ``training_step`` for that batch computes the new
    one from what it receives; later calls (an optimizer's closure) get the same. The ``observer`` of a batch is called
    once with the batch as it was given, the new one, and each trick with what it has drawn.
    """

    def __init__(self, trainer: pl.Trainer, pl_module: pl.LightningModule, tricks: Sequence[Any]) -> None:
        super().__init__(trainer, tricks)
        step = pl_module.training_step
        remove_patches(pl_module, "training_step")
        if is_param_in_hook_signature(step, "dataloader_iter", explicit=True):
            raise MisconfigurationException(
                f"{tricks[0].name} rewrites the batch that training_step receives, but this training_step takes "
                "`dataloader_iter` and fetches its batches itself; take `batch` instead"
            )
        self.observer: Observer | None = None
        self._remarked = False
        self._armed = False
        self.made: Any = None
        """The batch that ``training_step`` has got, until the step's last hook has run."""
        remove_patches(pl_module, "on_train_batch_end")
        self._patches = [
            MethodPatch(pl_module, "training_step", self._step),
            MethodPatch(pl_module, "on_train_batch_end", self._after_the_step),
        ]
        for patch in self._patches:
            patch.install()

    def state(self) -> dict[str, Any]:
        """The run's seed."""
        return {"seed": self._seed}

    def load(self, state: dict[str, Any] | None) -> None:
        """Takes the seed of the run that is resumed; a new run takes torch's, of rank 0."""
        trainer: Any = self.trainer
        self._seed = trainer.strategy.broadcast(torch.initial_seed()) if state is None else state["seed"]
        self._ordered = in_order(self.family, seed=self._seed, rank=trainer.global_rank)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses the batches of several loaders, unless every trick was told where to look."""
        loader = trainer.fit_loop._combined_loader
        count = 0 if loader is None else len(loader.flattened)
        unsure = [trick.name for trick in self.family if not trick.knows_its_input]
        if count > 1 and unsure:
            raise MisconfigurationException(
                f"{unsure[0]} needs batches of one train dataloader, but there are {count}; say which entry of the "
                "combined batch is meant with input_key= and target_key="
            )

    def on_train_batch_start(self, *args: Any) -> None:
        """Makes the next call of ``training_step`` compute a new batch."""
        self._armed, self.made = True, None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Disarms, but keeps the batch for the other callbacks; where it is None, Lightning calls this hook alone."""
        if batch is None:
            name = self.family[0].name
            raise TypeError(f"{name} needs a batch, but the train dataloader gave None at batch_idx={batch_idx}")
        self._armed = False

    def on_validation_start(self, *args: Any) -> None:
        """Disarms: a module may call its ``training_step`` in validation."""
        self._disarm()

    def on_train_epoch_end(self, *args: Any) -> None:
        """Disarms, also after a hook that ended the epoch before its batch was trained on."""
        self._disarm()

    def close(self) -> None:
        """Puts the module's own methods back."""
        self._disarm()
        for patch in self._patches:
            patch.remove()

    def _disarm(self) -> None:
        """Makes ``training_step`` the module's own again until the next training batch."""
        self._armed, self.made, self.observer = False, None, None

    def _after_the_step(self, hook: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Lets the batch go after the module's own hook, which Lightning calls last."""
        try:
            return hook(*args, **kwargs)
        finally:
            self._disarm()

    def _step(self, training_step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._armed:
            return training_step(*args, **kwargs)
        bound = list(args)
        name = None if bound else next(iter(inspect.signature(training_step).parameters))
        if self.made is None:
            self.made = self._rewrite(bound[0] if name is None else kwargs[name])
        if name is None:
            bound[0] = self.made
        else:
            kwargs[name] = self.made
        return training_step(*bound, **kwargs)

    def _rewrite(self, given: Any) -> Any:
        trainer: Any = self.trainer
        epoch = trainer.current_epoch
        batches_completed = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        batch, drawn = given, []
        for trick, randomness in self._ordered:
            batch, params = trick.rewrite(batch, randomness.at(batches_completed), epoch=epoch)
            drawn.append((trick, params))
        if not self._remarked:
            self._remarked = True
            if remark := remark_on([(trick.name, *trick.left_alone(given)) for trick in self.family]):
                pl.utilities.rank_zero_warn(remark)
            if names := [trick.name for trick in self.family if trick.blends_hits(given)]:
                pl.utilities.rank_zero_warn(_HITS.format(" and ".join(names)))
        observer, self.observer = self.observer, None
        if observer is not None:
            observer(given, batch, drawn)
        return batch


def mixed_batch(trainer: pl.Trainer) -> Any:
    """Returns the batch as ``training_step`` got it, for callbacks and hooks that log images or metrics.

    The hooks of Lightning, ``on_train_batch_end`` among them, are given the batch as it came from the loader. Ask for
    the mixed one between ``training_step`` and ``on_train_batch_end``, in the module or in a callback at any place in
    the list; nothing keeps it afterwards.

    Args:
        trainer: the Trainer in ``fit``, as hooks get it.

    Returns:
        The batch that the batch tricks have made; ``None`` outside a training step's hooks and without a batch trick.

    Example:
        >>> import lightning.pytorch as pl
        >>> class LogLabels(pl.Callback):
        ...     def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        ...         images, target = mixed_batch(trainer)
    """
    run = run_of(trainer, "batch")
    return None if run is None else run.made
