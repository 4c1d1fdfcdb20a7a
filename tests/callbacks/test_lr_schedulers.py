"""The tricks over the user's own schedulers: what the optimizer uses is the scheduler's rate times the factors."""

import math

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from lightning_tricks import CosineDecay, GradualWarmup
from tests.lr_recording import RecordingModule, RecordingSGD, loader

pytestmark = pytest.mark.filterwarnings("ignore:Two warm-ups multiply")  # the point of these tests is that they do

EPOCHS, BATCHES, WARMUP = 4, 5, 7
TOTAL = EPOCHS * BATCHES


def warmup_then_cosine(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.05 + 0.95 * (1 + math.cos(math.pi * (step - WARMUP) / (TOTAL - WARMUP))) / 2


class OwnScheduler:
    """A scheduler that is no subclass of torch's."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.steps = 0

    def step(self):
        self.steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] = 0.1 / (1 + self.steps)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


class OwnModule(RecordingModule):
    def lr_scheduler_step(self, scheduler, metric):
        scheduler.step()


def chained(optimizer):
    return schedulers.ChainedScheduler(
        [schedulers.ExponentialLR(optimizer, 0.9), schedulers.StepLR(optimizer, 3, 0.5)], optimizer
    )


def sequential(optimizer):
    first = schedulers.LinearLR(optimizer, 0.5, total_iters=3)
    return schedulers.SequentialLR(optimizer, [first, schedulers.ExponentialLR(optimizer, 0.8)], milestones=[3])


MAKERS = {
    "ExponentialLR + StepLR chained": chained,
    "OneCycleLR": lambda optimizer: schedulers.OneCycleLR(optimizer, max_lr=0.4, total_steps=TOTAL + 1),
    "CosineAnnealingLR": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, T_max=EPOCHS),
    "CosineAnnealingWarmRestarts": lambda optimizer: schedulers.CosineAnnealingWarmRestarts(optimizer, T_0=3),
    "CyclicLR with momentum": lambda optimizer: schedulers.CyclicLR(optimizer, 0.01, 0.1, step_size_up=3),
    "SequentialLR": sequential,
    "LambdaLR": lambda optimizer: schedulers.LambdaLR(optimizer, lambda n: 1 / (1 + n)),
    "MultiplicativeLR": lambda optimizer: schedulers.MultiplicativeLR(optimizer, lambda n: 0.9),
}


def run(make_trainer, make, *, callbacks, interval, frequency=1, module_class=RecordingModule, **config):
    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=0.1, momentum=0.9)
        scheduler = {"scheduler": make(optimizer), "interval": interval, "frequency": frequency, **config}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    module = module_class(configure)
    make_trainer(max_epochs=EPOCHS, callbacks=callbacks).fit(module, loader(BATCHES))
    return module.used, [group["lr"] for group in module.trainer.optimizers[0].param_groups]


def check(make_trainer, make, **kwargs):
    plain, plain_end = run(make_trainer, make, callbacks=[], **kwargs)
    tricks = [GradualWarmup(steps=WARMUP), CosineDecay(min_factor=0.05)]
    used, end = run(make_trainer, make, callbacks=tricks, **kwargs)
    assert len(used) == TOTAL
    assert len(set(plain)) > 1, "the scheduler did nothing, so this shows nothing"
    assert used == pytest.approx([lr * warmup_then_cosine(step) for step, lr in enumerate(plain)], abs=1e-12)
    assert end == plain_end


@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using 'interval'. 'epoch'")
@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("name", MAKERS)
def test_over_the_schedulers_of_torch(make_trainer, name, interval):
    check(make_trainer, MAKERS[name], interval=interval)


@pytest.mark.parametrize(("interval", "frequency"), [("step", 3), ("epoch", 2)])
def test_over_a_scheduler_with_a_frequency(make_trainer, interval, frequency):
    check(make_trainer, MAKERS["LambdaLR"], interval=interval, frequency=frequency)


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("strict", [True, False])
def test_over_reduce_on_plateau(make_trainer, interval, strict):
    def make(optimizer):
        return schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)

    check(make_trainer, make, interval=interval, monitor="constant", strict=strict)


def test_over_reduce_on_plateau_that_misses_its_metric(make_trainer):
    def make(optimizer):
        return schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)

    tricks = [GradualWarmup(steps=WARMUP), CosineDecay(min_factor=0.05)]
    with pytest.warns(RuntimeWarning, match="strict is set to `False`"):
        used, _ = run(make_trainer, make, callbacks=tricks, interval="epoch", monitor="nothing", strict=False)
    assert used == pytest.approx([0.1 * warmup_then_cosine(step) for step in range(TOTAL)], abs=1e-12)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_over_the_users_own_scheduler_class(make_trainer, interval):
    check(make_trainer, OwnScheduler, interval=interval, module_class=OwnModule)


def test_the_schedulers_state_is_what_it_is_without_the_tricks(make_trainer):
    states = []
    for callbacks in ([], [GradualWarmup(epochs=1), CosineDecay()]):
        module = RecordingModule(
            lambda module: (
                [optimizer := RecordingSGD(module.parameters(), lr=0.1)],
                [{"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), "interval": "step"}],
            )
        )
        trainer = make_trainer(max_epochs=2, callbacks=callbacks)
        trainer.fit(module, loader())
        states.append(trainer.lr_scheduler_configs[0].scheduler.state_dict())
    assert states[0] == states[1]
