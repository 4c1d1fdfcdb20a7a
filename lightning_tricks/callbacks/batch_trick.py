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
    is_detection,
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

    comes_last: bool = False
    """Whether the trick applies after all others, whatever its place in the list."""
    mixes: bool = False
    """Whether the trick mixes the samples of a batch."""
    uses_target: ClassVar[bool] = True
    """Whether the trick needs to find the target."""
    takes_detection: ClassVar[bool] = False
    """Whether the target may be a list of dictionaries with boxes, one an image."""

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
        return self.rewrite(batch, rng)[0]

    def is_in_window(self, epoch: int) -> bool:
        """Whether batches of this epoch are touched."""
        return self.start_epoch <= epoch and (self.stop_epoch is None or epoch < self.stop_epoch)

    def rewrite(
        self, batch: Any, rng: np.random.Generator, *, epoch: int | None = None, **changes: Any
    ) -> tuple[Any, BatchParams]:
        """Draws and applies.

        Args:
            batch: as ``training_step`` would receive it; it is not written to.
            rng: what to draw from.
            epoch: the current epoch; ``None`` outside a Trainer, where ``start_epoch`` and ``stop_epoch`` mean nothing.
            changes: parameters to use in place of the drawn ones; ``active=False`` leaves the images alone and gives
                labels the form that they have in other batches.

        Returns:
            The new batch, which shares what was not touched with ``batch``, and what was drawn.

        Raises:
            TypeError: the batch, the images or the target have the wrong type.
            ValueError: images or target are not found, or a shape does not fit.
        """
        input_key = self._find("input", self.input_key, batch)
        target_key = self._find("target", self.target_key, batch)
        if target_key is not None and target_key == input_key:
            raise ValueError(f"{self.name} found its images and its target in the same place, {input_key!r}")
        given = get_at(batch, input_key)
        target = None if target_key is None else get_at(batch, target_key)
        self.check_target(target)
        images = self._as_tensor(given, batch)
        self.check_images(images)
        try:
            if epoch is not None and not self.is_in_window(epoch):
                changes["active"] = False
            params = dataclasses.replace(self.draw(rng, images), **changes)
            with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
                new_images, new_target = self.apply(params, images, target)
        except (TypeError, ValueError) as error:
            if str(error).startswith(self.name):
                raise
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.name}: {error}") from error
        if new_images is not images:
            batch = set_at(batch, input_key, _in_the_form_of(given, new_images))
        if target_key is not None and new_target is not target:
            batch = set_at(batch, target_key, new_target)
        return batch, params

    def check_images(self, images: Tensor) -> None:
        """Raises for images that the trick cannot take; most need a batch of images with height and width."""
        if images.ndim < 4:
            raise ValueError(f"{self.name} needs images of shape (N, C, H, W), but got {describe(images)}")

    def check_target(self, target: Any) -> None:
        """Raises for targets that the trick would make wrong."""
        if not self.takes_detection and is_detection(target):
            raise TypeError(
                f"{self.name} does not take detection targets, but got {describe(target)}; Mixup and Mosaic do"
            )

    def _as_tensor(self, images: Any, batch: Any) -> Tensor:
        if isinstance(images, TVTensor):
            return images.as_subclass(Tensor)
        if isinstance(images, Tensor):
            return images
        if isinstance(images, (list, tuple)) and images and all(isinstance(image, Tensor) for image in images):
            if any(image.shape != images[0].shape for image in images):
                raise ValueError(f"{self.name} needs images of one size, but got {describe(images)}")
            return torch.stack([image.as_subclass(Tensor) for image in images])
        raise TypeError(f"{self.name} needs images as one tensor, but got {describe(images)} in {describe(batch)}")

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
        if path is None and not (what == "target" and (is_only_images(batch) or not self.uses_target)):
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


def _in_the_form_of(given: Any, images: Tensor) -> Any:
    """Images as they were given: of the same tensor type, or as a list of tensors."""
    if isinstance(given, TVTensor):
        return wrap(images, like=given)
    if isinstance(given, (list, tuple)):
        return type(given)(
            wrap(image, like=old) if isinstance(old, TVTensor) else image
            for image, old in zip(images.unbind(), given, strict=True)
        )
    return images
