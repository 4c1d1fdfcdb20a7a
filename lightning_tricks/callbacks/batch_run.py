"""What all batch tricks of one fit share: the stand-in for ``training_step``, the seed, the count of batches."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature

from lightning_tricks.callbacks.method_patch import MethodPatch, remove_patches
from lightning_tricks.callbacks.randomness import batch_generator

if TYPE_CHECKING:
    from lightning_tricks.callbacks.batch_trick import BatchTrick


class BatchRun:
    """Hands ``training_step`` the batch that the tricks have made of the one it was given.

    It is armed for one training batch at a time. The first call of ``training_step`` for that batch computes the new
    one from what it receives; later calls (an optimizer's closure) get the same.
    """

    def __init__(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, tricks: Sequence[BatchTrick], *, seed: int
    ) -> None:
        step = pl_module.training_step
        remove_patches(pl_module, "training_step")
        if is_param_in_hook_signature(step, "dataloader_iter", explicit=True):
            raise MisconfigurationException(
                f"{tricks[0].name} rewrites the batch that training_step receives, but this training_step takes "
                "`dataloader_iter` and fetches its batches itself; take `batch` instead"
            )
        self.trainer = trainer
        self.tricks = sorted(tricks, key=lambda trick: trick.comes_last)
        self.seed = seed
        self._ordinals: list[int] = []
        seen: Counter[str] = Counter()
        for trick in self.tricks:
            self._ordinals.append(seen[trick.name])
            seen[trick.name] += 1
        self._armed = False
        self._made: Any = None
        self._patch = MethodPatch(pl_module, "training_step", self._step)
        self._patch.install()

    def check_loaders(self) -> None:
        """Refuses the batches of several loaders, unless every trick was told where to look."""
        loader = self.trainer.fit_loop._combined_loader
        count = 0 if loader is None else len(loader.flattened)
        unsure = [trick.name for trick in self.tricks if trick.input_key is None]
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
        self._armed, self._made = False, None

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

    def _rewrite(self, batch: Any) -> Any:
        trainer = self.trainer
        batches_completed = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        for trick, ordinal in zip(self.tricks, self._ordinals, strict=True):
            rng = batch_generator(
                self.seed if trick.seed is None else trick.seed,
                name=trick.name,
                ordinal=ordinal,
                rank=trainer.global_rank,
                batch=batches_completed,
            )
            batch, _ = trick.rewrite(batch, rng, epoch=trainer.current_epoch)
        return batch
