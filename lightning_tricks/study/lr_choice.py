"""The learning rate that suits an arm, chosen without the samples that the arms are compared on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler, Subset

_INNER_SHARE = 0.2


def hold_out(datamodule: pl.LightningDataModule, *, seed: int) -> None:
    """Takes a fifth of the training part for validation, in place of the validation part, which is not read.

    The datamodule is changed: its ``train_dataloader`` gives the other four fifths, shuffled if it shuffled before.

    Args:
        datamodule: one that this run owns, with one train DataLoader of a data set with a length.
        seed: of the choice of the fifth.
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
        # A generator of the loader's own is spent by no other loader here: this one replaces it.
        return _like(loader, train, shuffle=shuffle, drop_last=loader.drop_last)

    def val_dataloader() -> DataLoader[Any]:
        loader, (_, held) = split()
        return _like(loader, held, shuffle=False, drop_last=False)

    datamodule.train_dataloader = train_dataloader  # type: ignore[method-assign]
    datamodule.val_dataloader = val_dataloader  # type: ignore[method-assign]


def best_lr(trials: Sequence[Mapping[str, Any]], *, mode: str) -> float:
    """The learning rate of the best trial.

    Args:
        trials: ``lr`` and ``value`` of each; one whose value is not finite is worse than any other.
        mode: ``"max"`` or ``"min"``.

    Returns:
        Among equally good ones the first in the grid.
    """

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
