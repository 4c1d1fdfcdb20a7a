from contextlib import nullcontext

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import lr_scheduler as schedulers

from lightning_tricks import CosineDecay, GradualWarmup, LinearScaling
from tests.lr_recording import ManualModule, RecordingModule, RecordingSGD, loader


def fit(make_trainer, trick, module=None, *, batches=4, **kwargs):
    module = module or RecordingModule()
    make_trainer(callbacks=[trick], **kwargs).fit(module, loader(batches))
    return module.used


@pytest.mark.parametrize(
    ("arguments", "factors"),
    [
        ({"epochs": 1}, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        ({"epochs": 1.25}, [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]),
        ({"epochs": 0.4}, [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ({"epochs": 0}, [1] * 8),
        ({"steps": 2}, [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ({"steps": 0}, [1] * 8),
        ({"steps": 5, "multiplier": 6}, [1, 2, 3, 4, 5, 6, 6, 6]),
        ({"epochs": 1, "start_factor": 0.6}, [0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1]),
        ({"epochs": 1, "start_factor": 0.0, "multiplier": 2}, [0, 0.5, 1, 1.5, 2, 2, 2, 2]),
    ],
)
def test_rates_that_the_optimizer_uses(make_trainer, arguments, factors):
    trick = GradualWarmup(**arguments)
    used = fit(make_trainer, trick, max_epochs=2)
    assert used == pytest.approx([0.1 * factor for factor in factors], abs=1e-12)
    assert [trick.factor(step) for step in range(8)] == pytest.approx(factors, abs=1e-12)
    assert trick.factor(10**6) == pytest.approx(factors[-1], abs=1e-12)


def test_factor_needs_no_trainer_where_the_length_is_in_steps():
    assert [GradualWarmup(steps=4).factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_default_is_five_epochs():
    assert (GradualWarmup().epochs, GradualWarmup().steps) == (5, None)
    assert GradualWarmup(steps=3).epochs is None


def test_factor_before_the_training_says_that_epochs_are_not_steps():
    with pytest.raises(MisconfigurationException, match=r"GradualWarmup\(epochs=5\) needs the run's steps per epoch"):
        GradualWarmup(epochs=5).factor(0)


def test_one_length_is_given():
    with pytest.raises(ValueError, match="needs either epochs or steps, but got epochs=1 and steps=1"):
        GradualWarmup(epochs=1, steps=1)


def test_a_run_shorter_than_the_warmup_warns_once_and_names_both_lengths(make_trainer):
    message = "GradualWarmup lasts 12 optimizer steps, but the run only 8"
    with pytest.warns(UserWarning, match=message) as record:
        fit(make_trainer, GradualWarmup(epochs=3), max_epochs=2)
    assert sum("optimizer steps" in str(warning.message) for warning in record) == 1


def test_a_run_as_long_as_the_warmup_does_not_warn(make_trainer):
    assert len(fit(make_trainer, GradualWarmup(steps=8), max_epochs=2)) == 8


# hold_scheduler: 0.1, halved by each step of the scheduler


def halved_by(interval, **config):
    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=0.1)
        scheduler = schedulers.ExponentialLR(optimizer, 0.5)
        return [optimizer], [{"scheduler": scheduler, "interval": interval, **config}]

    return configure


@pytest.mark.parametrize(
    ("interval", "steps", "halvings"),
    [
        ("step", 3, [0, 0, 0, 0, 1, 2, 3, 4]),
        ("step", 0, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("epoch", 1, [0, 0, 1, 1, 2, 2, 3, 3]),
        ("epoch", 2, [0, 0, 0, 0, 1, 1, 2, 2]),
        ("epoch", 3, [0, 0, 0, 0, 1, 1, 2, 2]),
        ("epoch", 4, [0, 0, 0, 0, 0, 0, 1, 1]),
    ],
)
def test_held_schedulers_run_from_their_beginning(make_trainer, interval, steps, halvings):
    """The warm-up counts the steps 0, 1, …; a scheduler's step at the warm-up's very end is the last left out."""
    module = RecordingModule(halved_by(interval))
    used = fit(make_trainer, GradualWarmup(steps=steps, hold_scheduler=True), module, batches=2, max_epochs=4)
    ramp = [(step + 1) / steps if step < steps else 1 for step in range(8)]
    assert used == pytest.approx([0.1 * 0.5**n * factor for n, factor in zip(halvings, ramp, strict=True)], abs=1e-12)


def test_schedulers_are_multiplied_by_default(make_trainer):
    module = RecordingModule(halved_by("step"))
    used = fit(make_trainer, GradualWarmup(steps=2), module)
    assert used == pytest.approx([0.05, 0.05, 0.025, 0.0125], abs=1e-12)


def test_the_patience_of_a_plateau_is_held_too(make_trainer):
    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=0.1)
        scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "constant"}}

    plain = fit(make_trainer, GradualWarmup(steps=0), RecordingModule(configure), batches=2, max_epochs=5)
    held = GradualWarmup(epochs=2, hold_scheduler=True)
    used = fit(make_trainer, held, RecordingModule(configure), batches=2, max_epochs=7)
    # Of the seven epochs' ends, the warm-up and its very end leave out two.
    assert used == pytest.approx([0.025, 0.05, 0.075, 0.1, *plain], abs=1e-12)
    assert len(set(plain)) > 1


def test_a_modules_own_lr_scheduler_step_is_called_after_the_warmup(make_trainer):
    class Own(RecordingModule):
        calls = 0

        def lr_scheduler_step(self, scheduler, metric):
            self.calls += 1
            scheduler.step()

    module = Own(halved_by("step"))
    fit(make_trainer, GradualWarmup(steps=3, hold_scheduler=True), module, max_epochs=2)
    assert module.calls == 8 - 3
    assert "lr_scheduler_step" not in vars(module)


def test_held_schedulers_need_automatic_optimisation(make_trainer):
    with pytest.raises(MisconfigurationException, match=r"hold_scheduler=True\) needs automatic optimisation"):
        fit(make_trainer, GradualWarmup(steps=1, hold_scheduler=True), ManualModule())


@pytest.mark.parametrize("raises", [True, False])
def test_the_module_keeps_its_method(make_trainer, raises):
    class Raising(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            assert "lr_scheduler_step" in vars(pl_module)
            if raises:
                raise KeyError("now")

    module = RecordingModule(halved_by("step"))
    trainer = make_trainer(callbacks=[GradualWarmup(steps=1, hold_scheduler=True), Raising()])
    if raises:
        with pytest.raises(KeyError, match="now"):
            trainer.fit(module, loader())
    else:
        trainer.fit(module, loader())
    assert "lr_scheduler_step" not in vars(module)


def test_two_held_warmups_leave_nothing_behind(make_trainer):
    module = RecordingModule(halved_by("step"))
    tricks = [GradualWarmup(steps=1, hold_scheduler=True), GradualWarmup(steps=2, hold_scheduler=True)]
    make_trainer(callbacks=tricks).fit(module, loader())
    assert "lr_scheduler_step" not in vars(module)
    assert module.used == pytest.approx([0.05, 0.1, 0.1, 0.05], abs=1e-12)


def test_the_paper_s_ramp(make_trainer):
    """Batch i of the warm-up's m, counted from 1, gets i·η/m."""
    used = fit(make_trainer, GradualWarmup(epochs=5), RecordingModule(lr=0.4), batches=10, max_epochs=6)
    assert used == pytest.approx([*(i * 0.4 / 50 for i in range(1, 51)), *[0.4] * 10], abs=1e-12)


def test_the_weights_are_those_of_a_hand_written_loop(make_trainer):
    module = RecordingModule(lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9))
    reference = RecordingModule()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    for step, (batch,) in enumerate(loader()):
        optimizer.param_groups[0]["lr"] = 0.1 * (step + 1) / 4
        optimizer.zero_grad()
        reference.net(batch).square().mean().backward()
        optimizer.step()
    make_trainer(callbacks=[GradualWarmup(epochs=1)]).fit(module, loader())
    assert torch.equal(module.net.weight, reference.net.weight)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_a_trainer_that_validates_in_the_middle_does_not_let_go(make_trainer):
    class Validating(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 0:
                make_trainer(callbacks=[GradualWarmup(steps=1)]).validate(pl_module, loader(1), verbose=False)
                pl_module.trainer = trainer
                pl_module.train()

    class Validated(RecordingModule):
        def validation_step(self, batch, batch_idx):
            pass

    module = Validated(halved_by("epoch"))
    trainer = make_trainer(callbacks=[GradualWarmup(steps=8, hold_scheduler=True), Validating()], max_epochs=4)
    trainer.fit(module, loader(2))
    assert module.used == pytest.approx([0.1 * (step + 1) / 8 for step in range(8)], abs=1e-12)
    assert "lr_scheduler_step" not in vars(module)


def test_nothing_to_hold_is_said(make_trainer):
    with pytest.warns(UserWarning, match="has nothing to hold: configure_optimizers gave no scheduler"):
        fit(make_trainer, GradualWarmup(steps=1, hold_scheduler=True), RecordingModule())


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("first", [CosineDecay(), LinearScaling(batch_size=256)])
def test_the_hold_ends_with_the_run_also_behind_another_trick(make_trainer, first, fails):
    class Failing(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if fails:
                raise MemoryError("full")

    module = RecordingModule(halved_by("epoch"))
    trainer = make_trainer(callbacks=[first, GradualWarmup(steps=2, hold_scheduler=True), Failing()])
    with pytest.raises(MemoryError) if fails else nullcontext():
        trainer.fit(module, loader(2))
    assert "lr_scheduler_step" not in vars(module)
