"""The samples of a run's training and evaluated part."""

import itertools
from collections.abc import Sequence, Sized
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import IterableDataset


def part_size(trainer: pl.Trainer, loader: Any, num_batches: Any, *, part: str) -> int:
    """The samples that a loader gave in one epoch, over all ranks.

    Args:
        trainer: that used it.
        loader: what the trainer calls its loaders of this part.
        num_batches: what the trainer calls its number of batches of this part.
        part: ``"training"``, ``"validation"`` or ``"test"``, for the message.

    Raises:
        TypeError: there are several loaders, or the samples of one cannot be counted.
        ValueError: there were none.
    """
    count = _num_samples(_only(loader), _only(num_batches), part)
    total = int(trainer.strategy.reduce(torch.tensor(count, device=trainer.strategy.root_device), reduce_op="sum"))
    if total < 1:
        raise ValueError(f"Ablation needs at least one sample in the {part} part, but its DataLoader gave none.")
    return total


def _only(items: Any) -> Any:
    """The one item of a list; anything else as it is."""
    return items[0] if isinstance(items, list | tuple) and len(items) == 1 else items


def _num_samples(loader: Any, num_batches: Any, part: str) -> int:
    """What one rank's loader gives in that many batches."""
    samples, batches = getattr(loader, "dataset", None), getattr(loader, "batch_sampler", None)
    if not isinstance(num_batches, Sequence):
        limit = None if num_batches == float("inf") else int(num_batches)
        if isinstance(samples, IterableDataset):
            if isinstance(samples, Sized) and loader.batch_size is not None:
                return len(samples) if limit is None else min(len(samples), limit * loader.batch_size)
        elif samples is not None:
            # Without a batch sampler each index that the sampler gives is a batch: a list of indices, or one.
            indices = loader.sampler if batches is None else batches
            given = list(itertools.islice(indices, limit))
            if all(isinstance(batch, Sequence) for batch in given):
                return sum(len(batch) for batch in given)
    raise TypeError(
        f"Ablation needs one {part} DataLoader whose samples can be counted (a data set with a length, in batches "
        f"of indices), but got {loader!r}. Give one DataLoader with a batch_size, and join several data sets by "
        "torch.utils.data.ConcatDataset."
    )
