"""Where the run's length cannot be known, an error says why and asks for it in steps."""

import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_tricks import ConstantWarmup, CosineDecay, GradualWarmup, PolynomialDecay, StepDecay
from tests.lr_recording import ManualModule, RecordingModule, RecordingSGD, loader, vectors


class Endless(IterableDataset):
    def __iter__(self):
        return iter([item for item in vectors(4)])


def endless_loader():
    return DataLoader(Endless(), batch_size=2)


TRICKS = {
    "GradualWarmup": (lambda: GradualWarmup(epochs=1), "steps="),
    "ConstantWarmup": (lambda: ConstantWarmup(epochs=1), "steps="),
    "StepDecay": (lambda: StepDecay(every_epochs=1), "every_steps="),
    "CosineDecay": (CosineDecay, r"total_steps= \(and a warm-up steps= instead of epochs=\)"),
    "PolynomialDecay": (PolynomialDecay, "total_steps="),
}


@pytest.mark.parametrize("name", TRICKS)
def test_an_iterable_data_set(make_trainer, name):
    make, ask = TRICKS[name]
    message = f"{name} .* cannot be known: the train dataloader has no length; give {ask}"
    with pytest.raises(MisconfigurationException, match=message):
        make_trainer(callbacks=[make()], max_epochs=2).fit(RecordingModule(), endless_loader())


@pytest.mark.parametrize("name", TRICKS)
def test_a_gradient_accumulation_scheduler(make_trainer, name):
    make, ask = TRICKS[name]
    message = f"{name} .* cannot be known: GradientAccumulationScheduler changes it during the run; give {ask}"
    trainer = make_trainer(callbacks=[GradientAccumulationScheduler({1: 2}), make()], max_epochs=2)
    with pytest.raises(MisconfigurationException, match=message):
        trainer.fit(RecordingModule(), loader())


def test_a_gradient_accumulation_scheduler_that_accumulates_nothing(make_trainer):
    module = RecordingModule()
    make_trainer(callbacks=[GradientAccumulationScheduler({2: 1}), CosineDecay()], max_epochs=2).fit(module, loader())
    assert module.used[4] == pytest.approx(0.05, abs=1e-12)


def test_an_iterable_data_set_whose_run_max_steps_ends(make_trainer):
    module = RecordingModule()
    make_trainer(callbacks=[CosineDecay()], max_epochs=-1, max_steps=6).fit(module, endless_loader())
    assert module.used == pytest.approx([0.1 * CosineDecay(total_steps=6).factor(step) for step in range(6)], abs=1e-12)


def test_an_iterable_data_set_may_end_before_max_steps(make_trainer):
    with pytest.raises(MisconfigurationException, match=r"CosineDecay needs .* the train dataloader has no length"):
        make_trainer(callbacks=[CosineDecay()], max_epochs=1, max_steps=6).fit(RecordingModule(), endless_loader())


def test_lengths_in_steps_need_nothing_of_an_iterable_data_set(make_trainer):
    module = RecordingModule()
    tricks = [GradualWarmup(steps=2), CosineDecay(total_steps=6)]
    make_trainer(callbacks=tricks, max_epochs=2).fit(module, endless_loader())
    falling = [CosineDecay(total_steps=4).factor(step) for step in range(6)]
    assert module.used == pytest.approx([0.05, 0.1, *(0.1 * factor for factor in falling)], abs=1e-12)


def test_a_run_without_an_end(make_trainer):
    with pytest.raises(MisconfigurationException, match="neither max_epochs nor max_steps; give total_steps="):
        make_trainer(callbacks=[CosineDecay()], max_epochs=-1).fit(RecordingModule(), loader())


def test_a_run_without_an_end_has_epochs(make_trainer):
    module = RecordingModule()
    trainer = make_trainer(callbacks=[StepDecay(every_epochs=1)], max_epochs=-1, max_time={"seconds": 1})
    trainer.fit(module, loader())
    assert module.used[:12] == pytest.approx([0.1] * 4 + [0.01] * 4 + [0.001] * 4, abs=1e-12)


def test_max_steps_of_several_optimizers(make_trainer):
    def configure(module):
        return [RecordingSGD([module.net.weight], lr=0.1), RecordingSGD([module.net.bias], lr=0.1)]

    trainer = make_trainer(callbacks=[CosineDecay()], max_steps=6)
    with pytest.raises(MisconfigurationException, match="max_steps counts the steps of several optimizers together"):
        trainer.fit(ManualModule(configure, steps=(1, 1)), loader())


def test_max_steps_of_one_manual_optimizer_that_accumulates(make_trainer):
    class Accumulating(ManualModule):
        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            self.manual_backward(self.net(batch[0]).square().mean())
            if batch_idx % 2:
                optimizer.step()
                optimizer.zero_grad()

    module = Accumulating()
    make_trainer(callbacks=[CosineDecay()], max_epochs=-1, max_steps=6).fit(module, loader())
    assert module.used == pytest.approx([0.1 * CosineDecay(total_steps=6).factor(step) for step in range(6)], abs=1e-12)
    with pytest.raises(
        MisconfigurationException, match=r"CosineDecay took .* 4 steps in the first epoch, .* but they made \[2\]; give"
    ):
        make_trainer(callbacks=[CosineDecay()]).fit(Accumulating(), loader())


class Normalised(RecordingModule):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def training_step(self, batch, batch_idx):
        return super().training_step([self.norm(batch[0])], batch_idx)


def test_weight_averaging_that_adds_an_epoch(make_trainer):
    averaging = StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=2)
    with pytest.raises(MisconfigurationException, match="StochasticWeightAveraging adds an epoch for the batch norm"):
        make_trainer(callbacks=[averaging, CosineDecay()], max_epochs=3).fit(Normalised(), loader())


def test_weight_averaging_gives_the_nominal_rate(make_trainer):
    def used(tricks):
        module = RecordingModule()
        averaging = StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=2, annealing_epochs=2)
        make_trainer(callbacks=[averaging, *tricks], max_epochs=4).fit(module, loader())
        return module.used

    plain = used([])
    assert len(set(plain)) > 1
    factors = [CosineDecay(total_steps=16).factor(step) for step in range(16)]
    assert used([CosineDecay()]) == pytest.approx([lr * f for lr, f in zip(plain, factors, strict=True)], abs=1e-12)


def test_no_optimizer(make_trainer):
    class Without(RecordingModule):
        def __init__(self):
            super().__init__(lambda module: [])
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            pass

    with pytest.raises(MisconfigurationException, match="need an optimizer, but configure_optimizers gave none"):
        make_trainer(callbacks=[GradualWarmup(steps=1)]).fit(Without(), loader())


def test_a_length_that_a_decay_was_told_counts_as_the_runs(make_trainer):
    tricks = [GradualWarmup(steps=8), CosineDecay(total_steps=6)]
    with pytest.warns(UserWarning, match="GradualWarmup lasts 8 optimizer steps, but the run only 6"):
        make_trainer(callbacks=tricks, max_epochs=2).fit(RecordingModule(), endless_loader())


def test_the_data_is_read_in_its_order(make_trainer):
    """A length that is read too early builds the loader twice, and a stateful one goes on at the wrong sample."""
    seen = []

    class Seeing(RecordingModule):
        def training_step(self, batch, batch_idx):
            seen.append(batch[0])
            return super().training_step(batch, batch_idx)

    make_trainer(callbacks=[GradualWarmup(epochs=1), CosineDecay()], max_epochs=2).fit(Seeing(), loader())
    assert torch.equal(torch.cat(seen), torch.cat([batch for (batch,) in loader()] * 2))
