"""The base of every trick that changes the batch."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import TVTensor, wrap

from lightning_tricks.engine.batch_run import BatchHooks
from lightning_tricks.engine.fields import (
    INPUT_NAMES,
    TARGET_NAMES,
    Key,
    as_keys,
    as_path,
    describe,
    find_input,
    find_target,
    get_at,
    has_second_view,
    is_accessor,
    is_detection,
    is_in,
    is_only_images,
    normal_path,
    set_at,
)
from lightning_tricks.engine.further_entries import FurtherEntry, further_entries, remark_on, shown
from lightning_tricks.engine.randomness import FreeGenerator
from lightning_tricks.functional.checks import check_integer, check_number, named
from lightning_tricks.soft_target.tensor import is_class_index


@dataclasses.dataclass(frozen=True)
class BatchParams:
    """What a trick has drawn for one batch.

    Attributes:
        active: whether the batch is touched at all.
    """

    active: bool


class BatchTrick(BatchHooks):
    """Rewrites the batch that ``training_step`` receives; the module does not change.

    A trick is *draw, then apply*: :meth:`draw` makes a small frozen dataclass of random parameters, :meth:`apply`
    uses them and draws nothing. Only the training batches of ``fit`` are rewritten, never those of sanity checking,
    validation, test and predict; hooks other than ``training_step`` see the batch as it came from the loader. The
    batch's own tensors are never written to.

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

    uses_target: ClassVar[bool] = True
    """Whether the trick needs to find the target."""
    takes_detection: ClassVar[bool] = False
    """Whether the target may be a list of dictionaries with boxes, one an image."""
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
                f"{self.name} needs a stop_epoch after start_epoch={start_epoch}, but got stop_epoch={stop_epoch}"
            )
        self.seed = None if seed is None else check_integer(self.name, "seed", seed, low=0)
        self._check_key("input_key", input_key)
        for argument, keys in (("target_key", target_key), ("ignore_keys", ignore_keys)):
            for key in as_keys(keys):
                self._check_key(argument, key)
        if isinstance(target_key, list) and (not target_key or any(target_key.count(key) > 1 for key in target_key)):
            raise ValueError(
                f"{self.name} needs target_key to be one or several different keys, but got {target_key!r}"
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
        if remark := remark_on([(self.name, self.left_alone(batch))]):
            warnings.warn(remark, stacklevel=2)
        return new_batch

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
        input_key, images, target_keys, target = self._read(batch)
        with named(self.name):
            if not self.is_in_window(epoch):
                changes["active"] = False
            params = self.draw(rng, images)
            if changes:
                params = dataclasses.replace(params, **changes)
            with torch.no_grad(), no_autocast(images.device.type):
                new_images, new_target = self.apply(params, images, target)
            if new_images is not images:
                batch = set_at(batch, input_key, _in_the_form_of(get_at(batch, input_key), new_images))
            if new_target is not target:
                news = new_target if len(target_keys) > 1 else [new_target]
                for key, new in zip(target_keys, news, strict=True):
                    batch = set_at(batch, key, new)
        return batch, params

    def check(self, batch: Any) -> None:
        """Raises for a batch that the trick cannot take, whatever it draws; see :meth:`rewrite` for the errors."""
        self._read(batch)

    def left_alone(self, batch: Any) -> tuple[list[Key], list[FurtherEntry]]:
        """Returns where the target is, and what belongs to the images beside it but will not be mixed with them."""
        if not (self.mixes or self.uses_target):
            return [], []
        images = get_at(batch, self._find("input", self.input_key, batch))
        target_keys = self._target_keys(batch)
        if not isinstance(images, (Tensor, list, tuple)) or (isinstance(images, Tensor) and images.ndim == 0):
            return target_keys, []
        if self.mixes:
            return target_keys, self._further(batch, images, target_keys)
        if self.target_key is not None or target_keys != [(1,)] or not is_class_index(target := get_at(batch, 1)):
            return target_keys, []
        further = self._further(batch, images, target_keys)
        return target_keys, [
            entry for entry in further if is_class_index(entry.value) and entry.value.shape == target.shape
        ]

    def _read(self, batch: Any) -> tuple[Any, Tensor, list[Any], Any]:
        """Where the images are, the images as one tensor, where the target is and the target; of none, ``None``."""
        input_key = self._find("input", self.input_key, batch)
        target_keys = self._target_keys(batch)
        if input_key in target_keys:
            raise ValueError(f"{self.name} found its images and its target in the same place, {input_key!r}")
        targets = [get_at(batch, key) for key in target_keys]
        if len(targets) > 1 and any(map(is_detection, targets)):
            raise TypeError(f"{self.name} needs a detection target to be its one target, but got {describe(targets)}")
        target = targets if len(targets) > 1 else targets[0] if targets else None
        with named(self.name):
            self.check_target(target)
            images = self._as_tensor(get_at(batch, input_key), batch)
            self.check_images(images)
            self.check_pair(images, target)
        if self.moves_pixels:
            for entry in self._further(batch, images, target_keys):
                if entry.moves_with(images):
                    raise ValueError(
                        f"{self.name} needs to move {entry} with the images, but it is neither they nor their target; "
                        f"pass target_key={shown([*target_keys, entry.path])}, or ignore_keys={shown([entry.path])} if "
                        "it is to stay as it is"
                    )
        return input_key, images, target_keys, target

    def _further(
        self, batch: Any, images: Tensor | list[Any] | tuple[Any, ...], target_keys: list[Any]
    ) -> list[FurtherEntry]:
        """What else belongs to the images; the user has not said that it stays as it is."""
        input_key = self._find("input", self.input_key, batch)
        ignored = [key for key in as_keys(self.ignore_keys) if is_in(batch, key)]
        return further_entries(batch, [input_key, *target_keys, *ignored], n=len(images))

    def _target_keys(self, batch: Any) -> list[Any]:
        """Where the targets are; what is to be ignored is no target, unless the user has said so."""
        if isinstance(self.target_key, list):
            return [self._find("target", key, batch) for key in self.target_key]
        key = self._find("target", self.target_key, batch)
        ignored = [normal_path(batch, as_path(key)) for key in as_keys(self.ignore_keys) if not is_accessor(key)]
        return [] if key is None or (self.target_key is None and key in ignored) else [key]

    def check_images(self, images: Tensor) -> None:
        """Raises for images that the trick cannot take; most need a batch of images with height and width."""
        if images.ndim < 4 or 0 in images.shape[1:]:
            raise ValueError(f"{self.name} needs images of shape (N, C, H, W), but got {describe(images)}")

    def check_target(self, target: Any) -> None:
        """Raises for targets that the trick would make wrong."""
        if not self.takes_detection and is_detection(target):
            raise TypeError(
                f"{self.name} does not take detection targets, but got {describe(target)}; Mixup and Mosaic do"
            )

    def check_pair(self, images: Tensor, target: Any) -> None:
        """Raises for images and a target that do not go together."""
        if is_detection(target) and len(target) != len(images):
            raise ValueError(
                f"{self.name} needs one target for each of its {len(images)} images, but got {describe(target)}"
            )

    def _check_key(self, argument: str, key: object) -> None:
        if isinstance(key, bool) or not (key is None or isinstance(key, (int, str, tuple))):
            several = "" if argument == "input_key" else ", or a list of these"
            raise TypeError(
                f"{self.name} needs {argument} to be an index, a key, an attribute name, a tuple of these or a "
                f"(getter, setter) pair{several}, but got {key!r}"
            )

    def _as_tensor(self, images: Any, batch: Any) -> Tensor:
        if isinstance(images, TVTensor):
            return images.as_subclass(Tensor)
        if isinstance(images, Tensor) and images.layout == torch.strided:
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
                hint = "; a path is a tuple (in YAML a list in a list)" if isinstance(self.target_key, list) else ""
                raise ValueError(f"{self.name} was told {what}_key={key!r}, but {error.args[0]}{hint}") from error
            return key
        path = find_input(batch) if what == "input" else find_target(batch)
        needless = is_only_images(batch) or not (self.uses_target or has_second_view(batch))
        if path is None and not (what == "target" and needless):
            names = INPUT_NAMES if what == "input" else TARGET_NAMES
            seen = f", whose keys are {list(batch)}" if isinstance(batch, Mapping) else ""
            raise ValueError(
                f"{self.name} needs to know where the {what} is: it looks at item {int(what == 'target')} or for one "
                f"of {', '.join(names)}, but got {describe(batch)}{seen}; pass {what}_key="
            )
        return path


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


def no_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Turns autocast off for one kind of device, where there is such a thing."""
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
