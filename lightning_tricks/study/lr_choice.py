"""Chooses an arm's learning rate without the samples that the arms are compared on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler, Subset

_INNER_SHARE = 0.2


def hold_out(datamodule: pl.LightningDataModule, *, seed: int) -> None:
    """Changes the datamodule: a fifth of the training part, chosen by ``seed``, replaces the validation part.

    Its ``train_dataloader`` gives the other four fifths, shuffled if it shuffled before.
    """
    original = datamodule.train_dataloader
    parts: list[Dataset[Any]] = []

    def split() -> tuple[DataLoader[Any], list[Dataset[Any]]]:
        loader = original()
        _check(loader)
        if not parts:
            order = torch.randperm(len(loader.dataset), generator=torch.Generator().manual_seed(seed)).tolist()
            held = max(1, round(_INNER_SHARE * len(order)))
            parts.extend((Subset(loader.dataset, order[held:]), Subset(loader.dataset, order[:held])))
        return loader, parts

    def train_dataloader() -> DataLoader[Any]:
        loader, (train, _) = split()
        shuffle = isinstance(loader.sampler, RandomSampler)
        # Reuses the loader's own generator: the original loader is never iterated.
        return _like(loader, train, shuffle=shuffle, drop_last=loader.drop_last)

    def val_dataloader() -> DataLoader[Any]:
        loader, (_, held) = split()
        return _like(loader, held, shuffle=False, drop_last=False)

    datamodule.train_dataloader = train_dataloader  # type: ignore[method-assign]
    datamodule.val_dataloader = val_dataloader  # type: ignore[method-assign]


def best_lr(trials: Sequence[Mapping[str, Any]], *, mode: str) -> float:
    """The learning rate of the best trial, or of the first of equal ones; a value that is not finite is the worst."""

    def goodness(trial: Mapping[str, Any]) -> float:
        if not math.isfinite(trial["value"]):
            return -math.inf
        return float(trial["value"]) if mode == "max" else -float(trial["value"])

    return float(max(trials, key=goodness)["lr"])


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
        generator=getattr(loader.sampler, "generator", None) or loader.generator,
        persistent_workers=loader.persistent_workers,
    )


def _check(loader: Any) -> None:
    plain = (
        isinstance(loader, DataLoader)
        and type(loader.batch_sampler) is BatchSampler
        and type(loader.sampler) in (RandomSampler, SequentialSampler)
    )
    if not plain:
        raise TypeError(
            "Ablation: `lr_grid` holds out a fifth of the training part, and needs one train DataLoader with the usual "
            f"shuffling for that, but got {loader!r}; choose each arm's learning rate yourself."
        )
