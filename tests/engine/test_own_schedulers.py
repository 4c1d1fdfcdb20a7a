"""What is said of a scheduler of the module's own that does what a trick does."""

import logging

import pytest
import timm.scheduler
from torch.optim import lr_scheduler as schedulers

from lightning_tricks import ConstantWarmup, CosineDecay, GradualWarmup, StepDecay
from tests.lr_recording import RecordingModule, RecordingSGD, loader


def sequential(optimizer):
    rising = schedulers.LinearLR(optimizer, 0.5, total_iters=3)
    return schedulers.SequentialLR(optimizer, [rising, schedulers.CosineAnnealingLR(optimizer, 8)], milestones=[3])


WARMING = {
    "OneCycleLR": lambda optimizer: schedulers.OneCycleLR(optimizer, max_lr=0.4, total_steps=20),
    "LinearLR": lambda optimizer: schedulers.LinearLR(optimizer, 0.5, total_iters=3),
    "ConstantLR": lambda optimizer: schedulers.ConstantLR(optimizer, 0.5, total_iters=3),
    "CyclicLR": lambda optimizer: schedulers.CyclicLR(optimizer, 0.01, 0.1, step_size_up=3, cycle_momentum=False),
    "SequentialLR": sequential,
    "LambdaLR": lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 3)),
    "CosineLRScheduler": lambda optimizer: timm.scheduler.CosineLRScheduler(optimizer, 8, warmup_t=3),
}
DECAYING = {
    "CosineAnnealingLR": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 8),
    "MultiStepLR": lambda optimizer: schedulers.MultiStepLR(optimizer, [2]),
    "ReduceLROnPlateau": schedulers.ReduceLROnPlateau,
    "PolynomialLR": lambda optimizer: schedulers.PolynomialLR(optimizer, 8),
    "CosineLRScheduler": lambda optimizer: timm.scheduler.CosineLRScheduler(optimizer, 8),
}


def fit(make_trainer, make, tricks, **kwargs):
    class Module(RecordingModule):
        def lr_scheduler_step(self, scheduler, metric):
            if isinstance(scheduler, timm.scheduler.scheduler.Scheduler):
                scheduler.step(self.current_epoch)
            else:
                super().lr_scheduler_step(scheduler, metric)

    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=0.1)
        return [optimizer], [{"scheduler": make(optimizer), "interval": "epoch", "monitor": "constant"}]

    trainer = make_trainer(callbacks=tricks, max_epochs=kwargs.pop("max_epochs", 1))
    trainer.fit(Module(configure), loader(), **kwargs)
    return trainer


@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using 'interval'. 'epoch'")
@pytest.mark.parametrize("trick", [lambda: GradualWarmup(steps=2), lambda: ConstantWarmup(steps=2)])
@pytest.mark.parametrize("name", WARMING)
def test_two_warmups_are_a_warning(make_trainer, name, trick):
    message = f"Two warm-ups multiply: {type(trick()).__name__} and the module's own {name}, which begins below"
    with pytest.warns(UserWarning, match=message):
        fit(make_trainer, WARMING[name], [trick()])


@pytest.mark.parametrize("name", DECAYING)
def test_a_warmup_before_a_decay_is_no_warning(make_trainer, name):
    fit(make_trainer, DECAYING[name], [GradualWarmup(steps=2)])


@pytest.mark.parametrize("trick", [CosineDecay, lambda: StepDecay(every_epochs=1)])
@pytest.mark.parametrize("name", DECAYING)
def test_two_decays_are_a_line_of_the_log(make_trainer, caplog, name, trick):
    with caplog.at_level(logging.INFO):
        fit(make_trainer, DECAYING[name], [trick()])
    lines = [message for message in caplog.messages if "multiply" in message]
    [line] = lines
    assert line.startswith(f"Two decays multiply: {type(trick()).__name__} and the module's own {name}; leave one")


def test_a_decay_after_the_modules_warmup_is_no_line(make_trainer, caplog):
    with caplog.at_level(logging.INFO):
        for name in ("LinearLR", "ConstantLR"):
            fit(make_trainer, WARMING[name], [CosineDecay()])
    assert not [message for message in caplog.messages if "multiply" in message]


@pytest.mark.filterwarnings("ignore:Two warm-ups multiply")
def test_a_sequence_that_ends_in_a_decay_is_a_line(make_trainer, caplog):
    with caplog.at_level(logging.INFO):
        fit(make_trainer, sequential, [GradualWarmup(steps=2), CosineDecay()])
    [line] = [message for message in caplog.messages if "Two decays" in message]
    assert "own SequentialLR" in line


def test_a_run_that_resumes_in_the_middle_of_a_decay_is_not_warned_of_a_warmup(make_trainer, tmp_path):
    tricks = [GradualWarmup(steps=2)]
    trainer = fit(make_trainer, DECAYING["MultiStepLR"], tricks, max_epochs=3)
    assert trainer.optimizers[0].param_groups[0]["lr"] < 0.1
    trainer.save_checkpoint(tmp_path / "late.ckpt")
    resumed = {"ckpt_path": tmp_path / "late.ckpt", "weights_only": True, "max_epochs": 4}
    fit(make_trainer, DECAYING["MultiStepLR"], [GradualWarmup(steps=2)], **resumed)
