"""The training part and the evaluated part of a run: sizes, digests, overlap, and a fifth that is held out."""

import bisect
import itertools
import math
from collections.abc import Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_tricks.study.fingerprint import digest

_INNER_SHARE = 0.2
_FEW = 256  # samples of a data set that may have to read them from a disk


@dataclass(frozen=True)
class Samples:
    """The samples of one part.

    Attributes:
        size: how many the loader gave in one epoch, over all ranks.
        places: of each sample its data set, below every Subset, and its index there; empty where that is unknown.
        hashes: of the samples, or of a few of many; each read with the same seed.
        digest: of the part, equal for equal parts however they are normalised; ``None`` where that is unknown.
    """

    size: int
    places: frozenset[tuple[Hashable, int]]
    hashes: frozenset[str]
    digest: str | None


def read_part(trainer: pl.Trainer, loader: Any, num_batches: Any, *, part: str) -> Samples:
    """Reads a part, given what the trainer calls its loaders and its number of batches."""
    loader, num_batches = _only(loader), _only(num_batches)
    count, given = _given(loader, num_batches, part)
    total = int(trainer.strategy.reduce(torch.tensor(count, device=trainer.strategy.root_device), reduce_op="sum"))
    if total < 1:
        raise ValueError(f"Ablation needs at least one sample in the {part} part, but its DataLoader gave none.")
    indices = _population(loader)
    keys: dict[int, Hashable] = {}
    places = sorted(
        (
            (*_place(loader.dataset, index, keys), index)
            for index in set(given if indices is None else indices)
            if isinstance(index, int)
        ),
        key=lambda place: place[1:],
    )
    few = places
    if not isinstance(loader.dataset, TensorDataset):
        few = places[:: math.ceil(len(places) / _FEW) or 1]
    if loader.batch_sampler is None:  # the data set is asked for batches, not for samples
        few = []
    samples = [loader.dataset[index] for _, _, index in few]
    hashes = [digest(sample) for sample in samples]
    known = indices is not None and places
    return Samples(
        size=total,
        places=frozenset(place[:2] for place in places),
        hashes=frozenset(hashes),
        digest=digest([[place[1] for place in places], [_unscaled(sample) for sample in samples]]) if known else None,
    )


def _unscaled(sample: Any) -> Any:
    """What of a sample does not change where images are normalised by the training part of another seed."""
    if isinstance(sample, Mapping):
        return {key: _unscaled(item) for key, item in sample.items()}
    if isinstance(sample, list | tuple):
        return [_unscaled(item) for item in sample]
    value = torch.as_tensor(sample) if isinstance(sample, np.ndarray) and sample.dtype.kind == "f" else sample
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.ndim == 0:
        return sample
    rows = value.flatten(1) if value.ndim > 1 and value.numel() else value.new_zeros(0, 1)
    return [list(value.shape), rows.argmax(1), rows.argmin(1)]  # where each channel is brightest and darkest


def refuse_overlap(training: Samples, evaluated: Samples, *, part: str) -> None:
    """Refuses an evaluated part that holds samples of the training part."""
    if shared := len(training.places & evaluated.places):
        raise ValueError(
            f"Ablation needs a {part} part that shares no sample with the training part, but {shared} of its "
            f"{len(evaluated.places)} samples are trained on. Split by the seed: a random_split in setup needs a "
            "generator, since setup is called more than once."
        )


def _only(items: Any) -> Any:
    """The one item of a list; anything else as it is."""
    return items[0] if isinstance(items, list | tuple) and len(items) == 1 else items


def _given(loader: Any, num_batches: Any, part: str) -> tuple[int, list[Any]]:
    """The number of samples that one rank's loader gives in that many batches, and their indices."""
    samples, batches = getattr(loader, "dataset", None), getattr(loader, "batch_sampler", None)
    if not isinstance(num_batches, Sequence):
        limit = None if num_batches == float("inf") else int(num_batches)
        if isinstance(samples, IterableDataset):
            if isinstance(samples, Sized) and loader.batch_size is not None:
                return len(samples) if limit is None else min(len(samples), limit * loader.batch_size), []
        elif samples is not None:
            # Without a batch sampler each index that the sampler gives is a batch: a list of indices, or one.
            given = list(itertools.islice(loader.sampler if batches is None else batches, limit))
            if all(isinstance(batch, Sequence) for batch in given):
                indices = [index for batch in given for index in batch]
                return len(indices), indices
    raise TypeError(
        f"Ablation needs one {part} DataLoader whose samples can be counted (a data set with a length, in batches "
        f"of indices), but got {loader!r}. Give one DataLoader with a batch_size, and join several data sets by "
        "torch.utils.data.ConcatDataset."
    )


def _population(loader: Any) -> Sequence[int] | None:
    """The indices that a loader may give, whichever it gives in one epoch; ``None`` for a sampler of another kind."""
    sampler: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    while isinstance(sampler, BatchSampler):
        sampler = sampler.sampler
    if isinstance(sampler, SubsetRandomSampler):
        return [int(index) for index in sampler.indices]
    if isinstance(sampler, WeightedRandomSampler):
        return [index for index, weight in enumerate(sampler.weights.tolist()) if weight > 0]
    if type(sampler) in (RandomSampler, SequentialSampler):
        return range(len(sampler.data_source))
    if isinstance(sampler, DistributedSampler) and sampler.dataset is loader.dataset:
        return range(len(loader.dataset))  # type: ignore[arg-type]
    return None


def _place(dataset: Any, index: int, keys: dict[int, Hashable]) -> tuple[Hashable, int]:
    """The data set that a sample comes from, and its index there."""
    while isinstance(dataset, Subset | ConcatDataset):
        if isinstance(dataset, Subset):
            dataset, index = dataset.dataset, int(dataset.indices[index])
        else:
            which = bisect.bisect_right(dataset.cumulative_sizes, index)
            index -= dataset.cumulative_sizes[which - 1] if which else 0
            dataset = dataset.datasets[which]
    if id(dataset) not in keys:
        keys[id(dataset)] = _key(dataset)
    return keys[id(dataset)], index


def _key(dataset: Any) -> Hashable:
    """Equal for the same data set, and for two that read the same folder with different transforms."""
    if not hasattr(dataset, "root"):
        return id(dataset)
    plain = [(name, item) for name, item in vars(dataset).items() if isinstance(item, str | int | None)]
    return type(dataset), str(dataset.root), tuple(plain)


def hold_out(datamodule: pl.LightningDataModule, *, seed: int) -> None:
    """Changes the datamodule: a fifth of the training part, chosen by ``seed``, replaces the validation part.

    Its ``train_dataloader`` gives the other four fifths, shuffled if it shuffled before.
    """
    original = datamodule.train_dataloader
    parts: list[Dataset[Any]] = []

    def split() -> tuple[DataLoader[Any], list[Dataset[Any]]]:
        loader = original()
        _check_plain(loader)
        if not parts:
            order = torch.randperm(len(loader.dataset), generator=torch.Generator().manual_seed(seed)).tolist()
            held = max(1, round(_INNER_SHARE * len(order)))
            parts.extend((Subset(loader.dataset, order[held:]), Subset(loader.dataset, order[:held])))
        return loader, parts

    def train_dataloader() -> DataLoader[Any]:
        loader, (train, _) = split()
        shuffle = isinstance(loader.sampler, RandomSampler)
        return _like(loader, train, shuffle=shuffle, drop_last=loader.drop_last)

    def val_dataloader() -> DataLoader[Any]:
        loader, (_, held) = split()
        return _like(loader, held, shuffle=False, drop_last=False)

    datamodule.train_dataloader = train_dataloader  # type: ignore[method-assign]
    datamodule.val_dataloader = val_dataloader  # type: ignore[method-assign]


def _like(loader: DataLoader[Any], part: Dataset[Any], *, shuffle: bool, drop_last: bool) -> DataLoader[Any]:
    return DataLoader(
        part,
        batch_size=loader.batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        # Reuses the loader's own generator: the original loader is never iterated.
        generator=getattr(loader.sampler, "generator", None) or loader.generator,
        persistent_workers=loader.persistent_workers,
    )


def _check_plain(loader: Any) -> None:
    plain = (
        isinstance(loader, DataLoader)
        and type(loader.batch_sampler) is BatchSampler
        and type(loader.sampler) in (RandomSampler, SequentialSampler)
    )
    if not plain:
        raise TypeError(
            "Ablation needs one train DataLoader with the usual shuffling for lr_grid, which holds out a fifth of the "
            f"training part, but got {loader!r}; choose each arm's learning rate yourself."
        )
