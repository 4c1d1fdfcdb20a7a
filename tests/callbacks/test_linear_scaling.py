import logging

import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from lightning_tricks import GradualWarmup, LinearScaling
from tests.lr_recording import RecordingModule, RecordingSGD, loader, vectors


def fit(make_trainer, callbacks, data=None, module=None, **kwargs):
    module = module or RecordingModule()
    make_trainer(callbacks=callbacks, **kwargs).fit(module, loader(4, 6) if data is None else data)
    return module.used


@pytest.mark.parametrize(
    ("arguments", "kwargs", "factor"),
    [
        ({}, {}, 6 / 256),
        ({"base_batch_size": 3}, {}, 2),
        ({"base_batch_size": 24, "rule": "sqrt"}, {}, 0.5),
        ({"base_batch_size": 3}, {"accumulate_grad_batches": 4}, 8),
        ({"base_batch_size": 3, "batch_size": 5}, {}, 5 / 3),
        ({"base_batch_size": 3, "batch_size": 5}, {"accumulate_grad_batches": 2}, 10 / 3),
    ],
)
def test_rates_that_the_optimizer_uses(make_trainer, arguments, kwargs, factor):
    used = fit(make_trainer, [LinearScaling(**arguments)], **kwargs)
    assert used == pytest.approx([0.1 * factor] * (4 // kwargs.get("accumulate_grad_batches", 1)), abs=1e-12)


def test_the_number_of_ranks_counts(make_trainer, monkeypatch):
    trainer = make_trainer(callbacks=[LinearScaling(base_batch_size=3)])
    monkeypatch.setattr(type(trainer), "world_size", 4)
    module = RecordingModule()
    trainer.fit(module, loader(4, 6))
    assert module.used == pytest.approx([0.8] * 4, abs=1e-12)


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(vectors(4, 6), batch_sampler=BatchSampler(SequentialSampler(range(24)), 6, False)),
        StatefulDataLoader(vectors(4, 6), batch_size=6),
    ],
)
def test_the_batch_size_is_found(make_trainer, data):
    assert fit(make_trainer, [LinearScaling(base_batch_size=3)], data) == pytest.approx([0.2] * 4, abs=1e-12)


class FirstOfAll(RecordingModule):
    def training_step(self, batch, batch_idx):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch
        return super().training_step(batch, batch_idx)


class NoSize:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"a": loader(), "b": loader()}, "dict"),
        (NoSize([[torch.ones(2, 3)]] * 3), "NoSize"),
        (DataLoader(vectors(), batch_sampler=[[0, 1], [2]]), "DataLoader"),
    ],
)
def test_where_it_is_not_found_it_is_asked_for(make_trainer, data, kind):
    message = f"LinearScaling needs one train dataloader that says its batch size, .* but got {kind}; give batch_size="
    with pytest.raises(MisconfigurationException, match=message):
        fit(make_trainer, [LinearScaling()], data, FirstOfAll())
    used = fit(make_trainer, [LinearScaling(batch_size=512)], data, FirstOfAll())
    assert set(used) == {0.2}


def test_it_says_once_what_it_found(make_trainer, caplog):
    def configure(module):
        return RecordingSGD([{"params": [module.net.weight], "lr": 0.3}, {"params": [module.net.bias]}], lr=0.1)

    with caplog.at_level(logging.INFO):
        fit(make_trainer, [LinearScaling(base_batch_size=3)], module=RecordingModule(configure), max_epochs=2)
    [message] = [record.getMessage() for record in caplog.records if "LinearScaling" in record.getMessage()]
    assert "a batch of 6 on each of 1 ranks, accumulated over 1 batches, is 6; relative to 3 (linear)" in message
    assert "the factor is 2, and the learning rate 0.3 becomes 0.6, 0.1 becomes 0.2" in message


def test_goyals_ramp(make_trainer):
    """From η to kη: the scaled rate, begun at 1/k of it."""
    used = fit(make_trainer, [LinearScaling(base_batch_size=2), GradualWarmup(steps=2, start_factor=1 / 3)])
    assert used == pytest.approx([0.1, 0.2, 0.3, 0.3], abs=1e-12)


@pytest.mark.parametrize("order", [1, -1])
def test_it_is_refused_beside_a_multiplier(make_trainer, order):
    tricks = [LinearScaling(), GradualWarmup(steps=2, multiplier=2)][::order]
    with pytest.raises(MisconfigurationException, match="LinearScaling and the multiplier of GradualWarmup would both"):
        fit(make_trainer, tricks)


def test_two_are_refused(make_trainer):
    with pytest.raises(MisconfigurationException, match="Two LinearScaling would scale the learning rate twice"):
        fit(make_trainer, [LinearScaling(), LinearScaling()])


def test_accumulation_that_changes_is_refused(make_trainer):
    with pytest.raises(MisconfigurationException, match="LinearScaling needs a batch of one size, but GradientAccum"):
        fit(make_trainer, [GradientAccumulationScheduler({0: 2}), LinearScaling()])


def test_factor_without_a_trainer():
    assert LinearScaling(batch_size=512).factor(10**6) == 2.0
    with pytest.raises(MisconfigurationException, match="LinearScaling needs the batch size to say what its factor is"):
        LinearScaling().factor(0)
