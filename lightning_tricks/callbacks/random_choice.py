"""RandomChoice: one of several tricks for each batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import Unpack

from lightning_tricks.callbacks.batch_trick import BatchOptions, BatchParams, BatchTrick
from lightning_tricks.engine.fields import Key
from lightning_tricks.engine.located import FurtherEntry, Located
from lightning_tricks.functional.checks import check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceParams(BatchParams):
    """What :class:`RandomChoice` has drawn.

    Attributes:
        part: the part that it chose.
        drawn: what that part has drawn.
    """

    part: BatchTrick
    drawn: BatchParams

    def title(self, name: str) -> str:
        """The choice and the part that it chose."""
        return f"{name} → {self.drawn.title(self.part.name)}"

    def caption(self) -> dict[str, Any]:
        """What the part says."""
        return self.drawn.caption()


class RandomChoice(BatchTrick):
    """Applies one of its parts to each batch.

    A part's own arguments hold: its ``p``, its epochs, its keys, its ``labels``. Parts may be choices themselves. Where
    some part mixes, soft targets carry as many labels as the part with the most needs, whichever was chosen, so that a
    compiled module meets one form.

    Args:
        tricks: the parts, at least one; each a batch trick without a ``seed``, since they draw from the choice's.
        weights: how likely each is, relative to the others: 0 or more, one per part, not all 0; ``None`` for equally.
        shared: the keywords of :class:`~lightning_tricks.BatchTrick`, except for keys, which are given to the parts.

    Raises:
        TypeError: an argument or a part has the wrong type.
        ValueError: an argument is out of its range, or is one that belongs to the parts or to the choice.

    Example:
        >>> import torch
        >>> from lightning_tricks import CutMix, Mixup
        >>> choice = RandomChoice([Mixup(alpha=0.2), CutMix()], weights=[1, 3])
        >>> images, target = choice((torch.rand(4, 3, 8, 6), torch.arange(4)), rng=0)
        >>> len(target.components)
        2
    """

    def __init__(
        self, tricks: Sequence[BatchTrick], *, weights: Sequence[float] | None = None, **shared: Unpack[BatchOptions]
    ) -> None:
        super().__init__(**shared)
        if not isinstance(tricks, Sequence) or not all(isinstance(trick, BatchTrick) for trick in tricks):
            raise TypeError(f"{self.name} needs a list of batch tricks, but got {tricks!r}.")
        if len(tricks) == 0:
            raise ValueError(f"{self.name} needs at least one trick, but got none.")
        for trick in tricks:
            if trick.seed is not None or trick.comes_last:
                reason = "comes after all others" if trick.comes_last else f"has the seed {trick.seed} of its own"
                raise ValueError(f"{self.name} cannot choose {trick.name}, which {reason}.")
        if not (self.input_key is None and self.target_key is None and self.ignore_keys is None):
            raise ValueError(
                f"{self.name} needs input_key and target_key on its parts, and ignore_keys too, but got them itself."
            )
        self.tricks = tuple(tricks)
        shares = [1.0] * len(tricks) if weights is None else self._check_weights(weights)
        self.weights = tuple(share / sum(shares) for share in shares)
        self.mixes = any(trick.mixes for trick in tricks)
        self.cuts = any(trick.cuts for trick in tricks)
        self.num_components = max(trick.num_components for trick in tricks)

    @property
    def knows_its_input(self) -> bool:
        """Whether the user has said it to each part."""
        return all(trick.knows_its_input for trick in self.tricks)

    @property
    def keys(self) -> dict[str, Any]:
        """Those of its first part."""
        return self.tricks[0].keys

    def arguments(self) -> dict[str, Any]:
        """Returns ``weights`` as they were given."""
        return super().arguments() | {"tricks": list(self.tricks), "weights": self._given.get("weights")}

    def rewrite(
        self, batch: Any, rng: np.random.Generator, *, epoch: int | None = None, located: Any = None, **changes: Any
    ) -> tuple[Any, BatchParams]:
        """Chooses a part and lets it draw and apply."""
        found = self.locate(batch) if located is None else list(located)
        active = bool(rng.random() < self.p) and self.is_in_window(epoch)
        index = int(rng.choice(len(self.tricks), p=self.weights))
        part = self.tricks[index]
        if not active:
            changes["active"] = False
        if self.num_components:
            changes = {"components": self.num_components} | changes
        if self.num_components and not part.num_components:
            mixing = next(other for other in self.tricks if other.num_components)
            batch, _ = mixing.rewrite(batch, rng, **changes | {"active": False})  # only gives labels their form
            found[index] = None
            del changes["components"]
        batch, drawn = part.rewrite(batch, rng, epoch=epoch, located=found[index], **changes)
        return batch, ChoiceParams(active=drawn.active, part=part, drawn=drawn)

    def locate(self, batch: Any) -> Any:
        """Lets every part that can be chosen look at the batch: one that cannot take it says so before it is chosen.

        Returns:
            What each part has located: parts with the same keys share one search.
        """
        found: list[Any] = []
        for part, weight in zip(self.tricks, self.weights, strict=True):
            if weight == 0 or isinstance(part, RandomChoice):
                found.append(part.locate(batch) if weight else None)
                continue
            earlier = zip(self.tricks, found, strict=False)
            twins = (it for other, it in earlier if isinstance(it, Located) and other.keys == part.keys)
            located = next(twins, None) or part.find(batch)
            part.check(located)
            found.append(located)
        return found

    def left_alone(self, batch: Any) -> tuple[list[Key], list[FurtherEntry]]:
        """Puts together what its parts leave alone."""
        found = [trick.left_alone(batch) for trick, weight in zip(self.tricks, self.weights, strict=True) if weight > 0]
        target_keys = next((keys for keys, entries in found if entries), [])
        return target_keys, list({entry.path: entry for _, entries in found for entry in entries}.values())

    def blends_hits(self, batch: Any) -> bool:
        """Whether a part does it."""
        return any(trick.blends_hits(batch) for trick, weight in zip(self.tricks, self.weights, strict=True) if weight)

    def _check_weights(self, weights: object) -> list[float]:
        if not isinstance(weights, Sequence) or isinstance(weights, str):
            raise TypeError(f"{self.name} needs weights to be a list of numbers, but got {weights!r}.")
        if len(weights) != len(self.tricks):
            raise ValueError(
                f"{self.name} needs one weight for each of its {len(self.tricks)} parts, but got {weights!r}."
            )
        shares = [check_number(self.name, "weights", weight, low=0.0) for weight in weights]
        if sum(shares) == 0:
            raise ValueError(f"{self.name} needs a weight above 0, but got {weights!r}.")
        return shares
