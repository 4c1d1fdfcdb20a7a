import math

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

from lightning_tricks.study.runs.parts import hold_out
from lightning_tricks.study.runs.runner import best_lr
from tests.study.small import Data

NUMBERS = TensorDataset(torch.arange(23))


def trials(**values):
    return [{"lr": float(lr[1:]), "value": value} for lr, value in values.items()]


def test_the_best_rate_is_the_first_of_the_best():
    assert best_lr(trials(_1=0.5, _2=0.7, _3=0.7), mode="max") == 2
    assert best_lr(trials(_1=0.5, _2=0.7, _3=0.4), mode="min") == 3


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_diverged_trial_is_worse_than_any_other(bad, mode):
    assert best_lr(trials(_1=bad, _2=1e9, _3=bad), mode=mode) == 2
    assert best_lr(trials(_1=-1e9, _2=bad), mode=mode) == 1
    assert best_lr(trials(_5=bad, _2=bad), mode=mode) == 5


def held(make_loader, seed=0):
    datamodule = Data(seed=0)
    datamodule.train_dataloader = make_loader
    hold_out(datamodule, seed=seed)
    return datamodule


def numbers(loader):
    return [number for (batch,) in loader for number in batch.tolist()]


def test_a_fifth_is_held_out_and_the_same_each_time():
    datamodule = held(lambda: DataLoader(NUMBERS, batch_size=4, shuffle=True))
    training, rest = numbers(datamodule.train_dataloader()), numbers(datamodule.val_dataloader())
    assert (len(training), len(rest)) == (18, 5)
    assert sorted(training + rest) == list(range(23))
    assert sorted(numbers(datamodule.train_dataloader())) == sorted(training)
    assert numbers(datamodule.val_dataloader()) == rest
    assert sorted(numbers(held(lambda: DataLoader(NUMBERS), seed=1).val_dataloader())) != sorted(rest)
    assert numbers(held(lambda: DataLoader(NUMBERS, batch_size=3, shuffle=True)).val_dataloader()) == rest
    assert len(held(lambda: DataLoader(TensorDataset(torch.arange(2)))).val_dataloader().dataset) == 1


def test_the_loader_stays_what_it_was():
    generator = torch.Generator().manual_seed(1)
    original = DataLoader(
        NUMBERS,
        batch_size=4,
        shuffle=True,
        drop_last=True,
        collate_fn=lambda rows: [torch.stack([row[0] for row in rows]) + 100],
        generator=generator,
        worker_init_fn=print,
    )
    datamodule = held(lambda: original)
    training, rest = datamodule.train_dataloader(), datamodule.val_dataloader()
    assert isinstance(training.sampler, RandomSampler)
    assert training.sampler.generator is generator
    assert [loader.drop_last for loader in (training, rest)] == [True, False]
    for loader in (training, rest):
        assert (loader.batch_size, loader.collate_fn) == (4, original.collate_fn)
        assert (loader.worker_init_fn, loader.num_workers, loader.pin_memory) == (print, 0, False)
    assert len(numbers(training)) == 16
    assert min(numbers(rest)) >= 100
    in_order = held(lambda: DataLoader(NUMBERS, batch_size=4)).train_dataloader()
    assert not isinstance(in_order.sampler, RandomSampler)


@pytest.mark.parametrize(
    "loader",
    [
        [DataLoader(NUMBERS)],
        DataLoader(NUMBERS, sampler=WeightedRandomSampler([1.0] * 23, 23)),
        DataLoader(NUMBERS, batch_sampler=type("Own", (BatchSampler,), {})(range(23), 4, False)),
        None,
    ],
)
def test_other_loaders_are_refused(loader):
    with pytest.raises(TypeError, match=r"needs one train DataLoader with the usual shuffling for lr_grid, .* but got"):
        held(lambda: loader).train_dataloader()
