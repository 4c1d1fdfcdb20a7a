"""The base of every trick that changes the batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import TVTensor, wrap

from lightning_tricks.callbacks.batch_fields import (
    INPUT_NAMES,
    TARGET_NAMES,
    Key,
    describe,
    find_input,
    find_target,
    get_at,
    is_only_images,
    set_at,
)
from lightning_tricks.callbacks.batch_run import BatchRun
from lightning_tricks.callbacks.checkpoint_entry import read_entry, write_entry
from lightning_tricks.callbacks.randomness import FreeGenerator
from lightning_tricks.functional.checks import check_integer, check_number


@dataclasses.dataclass(frozen=True)
class BatchParams:
    """What a trick has drawn for one batch.

    Attributes:
        active: whether the batch is touched at all.
    """

    active: bool


class BatchTrick(pl.Callback):
    """Rewrites the batch that ``training_step`` receives; the module does not change.

    A trick is *draw, then apply*: :meth:`draw` makes a small frozen dataclass of random parameters, :meth:`apply`
    uses them and draws nothing. Only the training batches of ``fit`` are rewritten, never those of sanity checking,
    validation, test and predict; hooks other than ``training_step`` see the batch as it came from the loader. The
    batch's own tensors are never written to.

    The batch may be a tensor, a list, tuple, namedtuple, mapping or dataclass, or these nested. By default the images
    are item 0 or the entry ``image(s)``, ``pixel_values``, ``input(s)`` or ``x``, and the target is item 1 or the
    entry ``label(s)``, ``target(s)`` or ``y``.

    Draws depend only on the seed, the trick's class, its ordinal among the tricks of its class, the rank and the
    number of training batches completed: a resumed run draws what the uninterrupted one would have drawn.

    Args:
        p: chance that a batch is touched, in [0, 1].
        start_epoch: the first epoch (from 0) in which batches are touched.
        stop_epoch: the first epoch in which they no longer are; ``None`` for never.
        input_key: where the images are: an index, a mapping's key, an attribute's name, a tuple of these that leads
            into nested containers, or a pair of functions ``(getter(batch), setter(batch, value))`` of which the
            second returns a new batch.
        target_key: where the target is, likewise; a getter that returns ``None`` says that there is none.
        seed: 0 or more; ``None`` takes torch's initial seed at the start of ``fit`` (``seed_everything`` governs it).

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.
    """

    comes_last: ClassVar[bool] = False
    uses_target: ClassVar[bool] = True
    mixes: ClassVar[bool] = False

    def __init__(
        self,
        *,
        p: float = 1.0,
        start_epoch: int = 0,
        stop_epoch: int | None = None,
        input_key: Key | None = None,
        target_key: Key | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.p = check_number(self.name, "p", p, low=0.0, high=1.0)
        self.start_epoch = check_integer(self.name, "start_epoch", start_epoch, low=0)
        self.stop_epoch = None if stop_epoch is None else check_integer(self.name, "stop_epoch", stop_epoch, low=0)
        if self.stop_epoch is not None and self.stop_epoch <= self.start_epoch:
            raise ValueError(
                f"{self.name} needs a stop_epoch after start_epoch={start_epoch}, but got stop_epoch={stop_epoch}"
            )
        self.seed = None if seed is None else check_integer(self.name, "seed", seed, low=0)
        for argument, key in (("input_key", input_key), ("target_key", target_key)):
            if isinstance(key, bool) or not (key is None or isinstance(key, (int, str, tuple))):
                raise TypeError(
                    f"{self.name} needs {argument} to be an index, a key, an attribute name, a tuple of these or a "
                    f"(getter, setter) pair, but got {key!r}"
                )
        self.input_key = input_key
        self.target_key = target_key
        self._run: BatchRun | None = None
        self._run_seed: int | None = None  # outlives the run: checkpoints are also saved after fit
        self._free_generator = FreeGenerator()

    @property
    def name(self) -> str:
        """The class name, as messages and draws use it."""
        return type(self).__name__

    def draw(self, rng: np.random.Generator, images: Tensor) -> BatchParams:
        """Draws the parameters for one batch; only the shape of ``images`` matters."""
        raise NotImplementedError

    def apply(self, params: Any, images: Tensor, target: Any) -> tuple[Tensor, Any]:
        """Returns the new images and target; ``images`` and ``target`` are not written to."""
        raise NotImplementedError

    def __call__(self, batch: Any, rng: np.random.Generator | int | None = None) -> Any:
        """Applies the trick to a batch outside any Trainer, as in a notebook or a collate function.

        Args:
            batch: as ``training_step`` would receive it; it is not written to.
            rng: a numpy generator, or a seed. ``None`` goes on with a sequence of the trick's own, which starts from
                its ``seed`` or from torch's initial seed.

        Returns:
            A batch of the same structure. Entries that the trick does not touch are shared with ``batch``.
        """
        if rng is None:
            rng = self._free_generator.get(self.seed)
        elif not isinstance(rng, np.random.Generator):
            rng = np.random.default_rng(check_integer(self.name, "rng", rng, low=0))
        return self.rewrite(batch, rng, in_window=True)

    def is_in_window(self, epoch: int) -> bool:
        """Whether batches of this epoch are touched."""
        return self.start_epoch <= epoch and (self.stop_epoch is None or epoch < self.stop_epoch)

    def rewrite(self, batch: Any, rng: np.random.Generator, *, in_window: bool) -> Any:
        """Draws and applies; outside the trick's epochs the draw is as if ``p`` had missed."""
        input_key = self._find("input", self.input_key, batch)
        images = get_at(batch, input_key)
        if not isinstance(images, Tensor):
            raise TypeError(f"{self.name} needs images as one tensor, but got {describe(images)} in {describe(batch)}")
        target_key = self._find("target", self.target_key, batch) if self.uses_target else None
        if target_key is not None and target_key == input_key:
            raise ValueError(f"{self.name} found its images and its target in the same place, {input_key!r}")
        target = None if target_key is None else get_at(batch, target_key)

        plain = images.as_subclass(Tensor) if isinstance(images, TVTensor) else images
        self.check_images(plain)
        params = self.draw(rng, plain)
        if not in_window:
            params = dataclasses.replace(params, active=False)
        with torch.no_grad(), torch.autocast(plain.device.type, enabled=False):
            new_images, new_target = self.apply(params, plain, target)
        if new_images is not plain:
            new_images = wrap(new_images, like=images) if isinstance(images, TVTensor) else new_images
            batch = set_at(batch, input_key, new_images)
        if target_key is not None and new_target is not target:
            batch = set_at(batch, target_key, new_target)
        return batch

    def check_images(self, images: Tensor) -> None:
        """Raises a TypeError or ValueError for images that the trick cannot take."""

    def _find(self, what: str, key: Key | None, batch: Any) -> Any:
        if batch is None:
            raise TypeError(f"{self.name} needs a batch, but got None")
        if key is not None:
            try:
                get_at(batch, key)
            except LookupError as error:
                raise ValueError(f"{self.name} was told {what}_key={key!r}, but {error.args[0]}") from error
            return key
        path = find_input(batch) if what == "input" else find_target(batch)
        if path is None and not (what == "target" and is_only_images(batch)):
            names = INPUT_NAMES if what == "input" else TARGET_NAMES
            seen = f", whose keys are {list(batch)}" if isinstance(batch, Mapping) else ""
            raise ValueError(
                f"{self.name} needs to know where the {what} is: it looks at item {int(what == 'target')} or for one "
                f"of {', '.join(names)}, but got {describe(batch)}{seen}; pass {what}_key="
            )
        return path

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_run": None}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Puts the stand-in for ``training_step`` in place: the first batch trick of the list does it for all."""
        tricks = [callback for callback in trainer.callbacks if isinstance(callback, BatchTrick)]  # type: ignore[attr-defined]
        if stage != "fit" or tricks[0] is not self:
            return
        self._close()
        mixing = [trick.name for trick in tricks if trick.mixes]
        if len(mixing) > 1:
            pl.utilities.rank_zero_warn(
                f"{' and '.join(mixing)} stand in one callback list, so every batch is mixed by each of them; to have "
                "one of them for each batch, put them into a RandomChoice"
            )
        self._run_seed = trainer.strategy.broadcast(torch.initial_seed())
        self._run = BatchRun(trainer, pl_module, tricks, seed=self._run_seed)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses loaders whose batches the tricks cannot read."""
        if self._run is not None:
            self._run.check_loaders()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Arms the stand-in for this batch."""
        if self._run is not None:
            self._run.arm()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Disarms the stand-in."""
        if batch is None:
            raise TypeError(f"{self.name} needs a batch, but the train dataloader gave None at batch_idx={batch_idx}")
        self._disarm()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Disarms the stand-in."""
        self._disarm()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Disarms the stand-in, also after a hook that ended the epoch before its batch was trained on."""
        self._disarm()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the run's seed."""
        if self._run_seed is not None:
            write_entry(checkpoint, "batch", {"seed": self._run_seed})

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the seed of the run that is resumed."""
        entry = read_entry(checkpoint, "batch")
        if self._run is not None and entry is not None:
            self._run.seed = self._run_seed = entry["seed"]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Puts the module's own ``training_step`` back."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Puts the module's own ``training_step`` back."""
        self._close()

    def _disarm(self) -> None:
        if self._run is not None:
            self._run.disarm()

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
