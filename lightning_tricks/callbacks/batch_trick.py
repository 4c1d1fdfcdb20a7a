"""The base of every trick that changes the batch."""

from __future__ import annotations

import dataclasses
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
    describe,
    find_input,
    find_target,
    get_at,
    has_second_view,
    is_detection,
    is_only_images,
    set_at,
)
from lightning_tricks.engine.randomness import FreeGenerator
from lightning_tricks.functional.checks import check_integer, check_number


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
        return self.rewrite(batch, rng)[0]

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
        input_key, images, target_key, target = self._read(batch)
        with _Naming(self.name):
            if not self.is_in_window(epoch):
                changes["active"] = False
            params = self.draw(rng, images)
            if changes:
                params = dataclasses.replace(params, **changes)
            with torch.no_grad(), no_autocast(images.device.type):
                new_images, new_target = self.apply(params, images, target)
            if new_images is not images:
                batch = set_at(batch, input_key, _in_the_form_of(get_at(batch, input_key), new_images))
            if target_key is not None and new_target is not target:
                batch = set_at(batch, target_key, new_target)
        return batch, params

    def check(self, batch: Any) -> None:
        """Raises for a batch that the trick cannot take, whatever it draws; see :meth:`rewrite` for the errors."""
        self._read(batch)

    def _read(self, batch: Any) -> tuple[Any, Tensor, Any, Any]:
        """Where the images are, the images as one tensor, where the target is and the target; of none, ``None``."""
        input_key = self._find("input", self.input_key, batch)
        target_key = self._find("target", self.target_key, batch)
        if target_key is not None and target_key == input_key:
            raise ValueError(f"{self.name} found its images and its target in the same place, {input_key!r}")
        target = None if target_key is None else get_at(batch, target_key)
        with _Naming(self.name):
            self.check_target(target)
            images = self._as_tensor(get_at(batch, input_key), batch)
            self.check_images(images)
            self.check_pair(images, target)
        return input_key, images, target_key, target

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
                raise ValueError(f"{self.name} was told {what}_key={key!r}, but {error.args[0]}") from error
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


class _Naming:
    """Puts the trick's name before the errors of what it calls."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (TypeError, ValueError)) and not str(error).startswith(self.name):
            kind_of_ours = TypeError if isinstance(error, TypeError) else ValueError
            raise kind_of_ours(f"{self.name}: {error}") from error


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
