"""The base of every trick that changes the batch."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypedDict

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from lightning_tricks.engine.batch_run import BatchRun, FreeGenerator
from lightning_tricks.engine.fields import Key, as_keys, describe, is_detection
from lightning_tricks.engine.located import FurtherEntry, Located, locate, remark_on, shown
from lightning_tricks.engine.shared_run import SharedRun
from lightning_tricks.functional.checks import check_integer, check_number, named
from lightning_tricks.soft_target.tensor import is_class_index


@dataclasses.dataclass(frozen=True)
class BatchParams:
    """What a trick has drawn for one batch.

    Attributes:
        active: whether the batch is touched at all.
    """

    active: bool

    def title(self, name: str) -> str:
        """Returns what a picture says of the trick with this name."""
        return name if self.active else f"{name} (left this batch alone)"

    def caption(self) -> dict[str, Any]:
        """Returns what a picture says of the draw: the fields that ``repr`` shows; an array has one row per image."""
        names = [field.name for field in dataclasses.fields(self) if field.repr and field.name != "active"]
        return {name: getattr(self, name) for name in names} if self.active else {}


class OptionsBesideP(TypedDict, total=False):
    """The keywords that every batch trick takes, without ``p``."""

    start_epoch: int
    """The first epoch (from 0) in which batches are touched."""
    stop_epoch: int | None
    """The first epoch in which they no longer are; ``None`` for never."""
    input_key: Key | None
    """Where the images are; see :class:`~lightning_tricks.BatchTrick` for the form of keys."""
    target_key: list[Key] | Key | None
    """Where the target is, or a list of keys for several places."""
    ignore_keys: list[Key] | Key | None
    """What is to stay as it is, without a warning or an error."""
    seed: int | None
    """0 or more; ``None`` takes torch's initial seed at the start of ``fit``."""


class BatchOptions(OptionsBesideP, total=False):
    """The keywords that every batch trick takes."""

    p: float
    """Chance that a batch is touched, in [0, 1]."""


class BatchTrick(SharedRun):
    """Rewrites the batch that ``training_step`` receives; the module does not change.

    A trick is *draw, then apply*: :meth:`draw` makes a small frozen dataclass of random parameters, :meth:`apply`
    uses them and draws nothing. Only the training batches of ``fit`` are rewritten, never those of sanity checking,
    validation, test and predict; hooks other than ``training_step`` see the batch as it came from the loader, and
    :func:`lightning_tricks.mixed_batch` gives them the mixed one. The batch's own tensors are never written to.

    The batch may be a tensor, a list, tuple, namedtuple, mapping or dataclass, or these nested. By default the images
    are item 0 or the entry ``image(s)``, ``pixel_values``, ``input(s)`` or ``x``, and the target is item 1 or the
    entry ``label(s)``, ``target(s)`` or ``y``. What else stands in the batch stays as it is. Where a trick mixes
    samples and leaves such a tensor of length N alone, one warning per ``fit`` says so; where a trick moves pixels, a
    tensor of the images' height and width that it would leave behind is an error.

    Draws depend only on the seed, the trick's class, its ordinal among the tricks of its class, the rank and the
    number of training batches completed: a resumed run draws what the uninterrupted one would have drawn.

    Args:
        p: chance that a batch is touched, in [0, 1].
        start_epoch: the first epoch (from 0) in which batches are touched.
        stop_epoch: the first epoch in which they no longer are; ``None`` for never.
        input_key: where the images are: an index, a mapping's key, an attribute's name, a tuple of these that leads
            into nested containers, or a pair of functions ``(getter(batch), setter(batch, value))`` of which the
            second returns a new batch.
        target_key: where the target is, in the same form, or a list of keys for several places; a getter that returns
            ``None`` says that there is none. In YAML a list of keys and a path look alike and are read as a list of
            keys; a path is written as a list in a list.
        ignore_keys: a key, or a list of keys, of what is to stay as it is, without a warning or an error.
        seed: 0 or more; ``None`` takes torch's initial seed at the start of ``fit`` (``seed_everything`` governs it). A
            second ``fit`` with the same Trainer goes on with that of the first.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from lightning_tricks.callbacks.batch_trick import BatchParams
        >>> class Negative(BatchTrick):
        ...     uses_target = False
        ...     def draw(self, rng, images):
        ...         return BatchParams(active=rng.random() < self.p)
        ...     def apply(self, params, images, target):
        ...         return (-images if params.active else images), target
        >>> images, labels = Negative()((torch.ones(2, 3, 8, 6), torch.arange(2)), rng=0)
        >>> images.unique()
        tensor([-1.])
    """

    section = "batch"
    comes_last: bool = False
    """Whether the trick applies after all others, whatever its place in the list."""
    mixes: bool = False
    """Whether the trick mixes the samples of a batch."""
    cuts: bool = False
    """Whether it mixes them so that each pixel of the result comes from one image, and a mask of classes stays one."""
    uses_target: ClassVar[bool] = True
    """Whether the trick needs to find the target."""
    takes_detection: ClassVar[bool] = False
    """Whether the target may be a list of dictionaries with boxes, one per image."""
    num_components: int = 0
    """How many labels a sample has afterwards, where the trick mixes."""

    def __init__(
        self,
        *,
        p: float = 1.0,
        start_epoch: int = 0,
        stop_epoch: int | None = None,
        input_key: Key | None = None,
        target_key: list[Key] | Key | None = None,
        ignore_keys: list[Key] | Key | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.p = check_number(self.name, "p", p, low=0.0, high=1.0)
        self.start_epoch = check_integer(self.name, "start_epoch", start_epoch, low=0)
        self.stop_epoch = None if stop_epoch is None else check_integer(self.name, "stop_epoch", stop_epoch, low=0)
        if self.stop_epoch is not None and self.stop_epoch <= self.start_epoch:
            raise ValueError(
                f"{self.name} needs a stop_epoch after start_epoch={start_epoch}, but got stop_epoch={stop_epoch}."
            )
        self.seed = None if seed is None else check_integer(self.name, "seed", seed, low=0)
        self._check_key("input_key", input_key)
        for argument, keys in (("target_key", target_key), ("ignore_keys", ignore_keys)):
            for key in as_keys(keys):
                self._check_key(argument, key)
        if isinstance(target_key, list) and (not target_key or any(target_key.count(key) > 1 for key in target_key)):
            raise ValueError(
                f"{self.name} needs target_key to be one or several different keys, but got {target_key!r}."
            )
        self.input_key = input_key
        self.target_key = target_key
        self.ignore_keys = ignore_keys
        self._free_generator = FreeGenerator()

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
        new_batch, _ = self.rewrite(batch, rng)
        if remark := remark_on([(self.name, *self.left_alone(batch))]):
            warnings.warn(remark, stacklevel=2)
        return new_batch

    def make_run(self, trainer: pl.Trainer, pl_module: pl.LightningModule, family: Sequence[BatchTrick]) -> BatchRun:
        """Returns the run of one fit; warns of tricks that do not go together."""
        mixing = [trick.name for trick in family if trick.mixes]
        if len(mixing) > 1:
            cutting = [trick.name for trick in family if trick.cuts]
            wrong = (
                f". {' and '.join(cutting)} both cut: the later one may cover what the earlier one has put in, so the "
                "weight of a label is not the share of its pixels"
            )
            pl.utilities.rank_zero_warn(
                f"{' and '.join(mixing)} stand in one callback list, so every batch is mixed by each of them; to have "
                f"one of them for each batch, put them into a RandomChoice{wrong if len(cutting) > 1 else ''}."
            )
        for trick in family:
            if 0 < (trainer.max_epochs or 0) <= trick.start_epoch:
                pl.utilities.rank_zero_warn(
                    f"{trick.name} begins at start_epoch={trick.start_epoch}, but the run ends after "
                    f"{trainer.max_epochs} epochs: it touches no batch."
                )
        return BatchRun(trainer, pl_module, family)

    @property
    def moves_pixels(self) -> bool:
        """Whether pixels change their place, so that masks and boxes have to follow."""
        return self.cuts

    @property
    def knows_its_input(self) -> bool:
        """Whether the user has said where the images are."""
        return self.input_key is not None

    def is_in_window(self, epoch: int | None) -> bool:
        """Whether batches of this epoch are touched; outside a Trainer there is none, and they are."""
        return epoch is None or (self.start_epoch <= epoch and (self.stop_epoch is None or epoch < self.stop_epoch))

    def rewrite(
        self,
        batch: Any,
        rng: np.random.Generator,
        *,
        epoch: int | None = None,
        located: Located | None = None,
        **changes: Any,
    ) -> tuple[Any, BatchParams]:
        """Locates, draws, applies and replaces.

        Args:
            batch: as ``training_step`` would receive it; it is not written to.
            rng: what to draw from.
            epoch: the current epoch; ``None`` outside a Trainer, where ``start_epoch`` and ``stop_epoch`` mean nothing.
            located: the batch as :meth:`locate` returns it, where that is known.
            changes: parameters to use in place of the drawn ones; ``active=False`` leaves the images alone and gives
                labels the form that they have in other batches.

        Returns:
            The new batch, which shares what was not touched with ``batch``, and what was drawn.

        Raises:
            TypeError: the batch, the images or the target have the wrong type.
            ValueError: images or target are not found, or a shape does not fit.
        """
        located = self.locate(batch) if located is None else located
        params = self._drawn(rng, located.images, epoch, changes)
        images, target = self._applied(params, located)
        return located.replaced(images, target), params

    def _drawn(
        self, rng: np.random.Generator, images: Tensor, epoch: int | None, changes: dict[str, Any]
    ) -> BatchParams:
        """Draws, and puts ``changes`` in place of drawn parameters; outside its epochs a trick is not active."""
        with named(self.name):
            params = self.draw(rng, images)
        if not self.is_in_window(epoch):
            changes = changes | {"active": False}
        return dataclasses.replace(params, **changes) if changes else params

    def _applied(self, params: BatchParams, located: Located) -> tuple[Tensor, Any]:
        """Applies without gradients and without autocast."""
        with named(self.name), torch.no_grad(), no_autocast(located.images.device.type):
            return self.apply(params, located.images, located.target)

    def locate(self, batch: Any) -> Located:
        """Finds images and target; raises for a batch that the trick cannot take, whatever it draws."""
        located = self.find(batch)
        self.check(located)
        return located

    @property
    def keys(self) -> dict[str, Any]:
        """Where the user has said that things stand."""
        names = ("input_key", "target_key", "ignore_keys", "uses_target")
        return {name: getattr(self, name) for name in names}

    def find(self, batch: Any) -> Located:
        """Finds images and target, and checks nothing else."""
        return locate(self.name, batch, **self.keys)

    def check(self, located: Located) -> None:
        """Raises for images and a target that the trick cannot take; see :meth:`rewrite` for the errors."""
        with named(self.name):
            self.check_target(located.target)
            self.check_images(located.images)
            self.check_pair(located.images, located.target)
        for entry in located.further if self.moves_pixels else ():
            if entry.moves_with(located.images):
                raise ValueError(
                    f"{self.name} needs to move {entry} with the images, but it is neither they nor their target; "
                    f"pass target_key={shown([*located.target_keys, entry.path])}, or "
                    f"ignore_keys={shown([entry.path])} if it is to stay as it is."
                )

    def left_alone(self, batch: Any) -> tuple[list[Key], list[FurtherEntry]]:
        """Returns where the target is, and what belongs to the images beside it but will not be mixed with them."""
        if not (self.mixes or self.uses_target):
            return [], []
        located = self.find(batch)
        if self.mixes:
            return located.target_keys, located.further
        # Labels at item 1 may be an index, and the labels may follow.
        if self.target_key is not None or located.target_keys != [(1,)] or not is_class_index(located.target):
            return located.target_keys, []
        shape = located.target.shape
        return located.target_keys, [
            entry for entry in located.further if is_class_index(entry.value) and entry.value.shape == shape
        ]

    def blends_hits(self, batch: Any) -> bool:
        """Whether labels of 0 and 1 become shares, which metrics do not take."""
        return False

    def check_images(self, images: Tensor) -> None:
        """Raises for images that the trick cannot take; most need a batch of images with height and width."""
        if images.ndim < 4 or 0 in images.shape[1:]:
            raise ValueError(f"{self.name} needs images of shape (N, C, H, W), but got {describe(images)}.")

    def check_target(self, target: Any) -> None:
        """Raises for targets that the trick would make wrong."""
        if not self.takes_detection and is_detection(target):
            raise TypeError(
                f"{self.name} does not take detection targets, but got {describe(target)}; Mixup and Mosaic do."
            )

    def check_pair(self, images: Tensor, target: Any) -> None:
        """Raises for images and a target that do not go together."""
        if is_detection(target) and len(target) != len(images):
            raise ValueError(
                f"{self.name} needs one target for each of its {len(images)} images, but got {describe(target)}."
            )

    def _check_key(self, argument: str, key: object) -> None:
        if isinstance(key, bool) or not (key is None or isinstance(key, (int, str, tuple))):
            several = "" if argument == "input_key" else ", or a list of these"
            raise TypeError(
                f"{self.name} needs {argument} to be an index, a key, an attribute name, a tuple of these or a "
                f"(getter, setter) pair{several}, but got {key!r}."
            )


def no_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Turns autocast off for one kind of device, where there is such a thing."""
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
