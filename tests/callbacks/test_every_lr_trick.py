"""What holds for every learning-rate trick in the registry."""

import math

import lightning.pytorch as pl
import pytest
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from tests.lr_recording import RecordingModule, RecordingSGD, vectors
from tests.registry import LR_TRICKS

BATCHES, EPOCHS, LR = 5, 3, 0.1
STEPS = BATCHES * EPOCHS
every_trick = pytest.mark.parametrize("make", LR_TRICKS.values(), ids=LR_TRICKS.keys())


class Module(RecordingModule):
    """Logs an accuracy that rises by a tenth per step; its optimizer writes the rates down."""

    def training_step(self, batch, batch_idx):
        self.log("train_acc", 0.1 * (self.trainer.global_step + 1))
        return super().training_step(batch, batch_idx)


def with_scheduler(module):
    optimizer = RecordingSGD(module.parameters(), lr=LR)
    return [optimizer], [{"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), "interval": "step"}]


def fit(make_trainer, callbacks, configure=None, path=None):
    module = Module(configure, lr=LR)
    trainer = make_trainer(callbacks=callbacks, max_epochs=EPOCHS)
    data = StatefulDataLoader(vectors(BATCHES), batch_size=2)
    trainer.fit(module, data, ckpt_path=path, weights_only=None if path is None else True)
    return module.used


@every_trick
@pytest.mark.filterwarnings("ignore:.* has nothing to hold")
def test_the_optimizer_uses_the_nominal_rate_times_the_factor(make_trainer, make):
    trick = make()
    seen = set()

    class Looks(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.add(optimizer.param_groups[0]["lr"])

        on_before_zero_grad = on_before_optimizer_step

    used = fit(make_trainer, [Looks(), trick])
    assert used == pytest.approx([LR * trick.factor(step) for step in range(STEPS)], abs=1e-12)
    assert any(rate != LR for rate in used)
    assert seen == {LR}


@every_trick
@pytest.mark.filterwarnings("ignore:.* has nothing to hold")
def test_the_factor_is_defined_past_the_end(make_trainer, make):
    trick = make()
    fit(make_trainer, [trick])
    for step in (STEPS - 1, STEPS, STEPS + 1, 10**6):
        assert math.isfinite(trick.factor(step))
        assert trick.factor(step) >= 0
    assert trick.factor(10**6) == trick.factor(10**6 + 3)


@every_trick
def test_a_run_that_was_killed_is_resumed_at_the_same_rates(make_trainer, tmp_path, make):
    """Not at an epoch's last batch, from whose checkpoints Lightning itself resumes an epoch too late."""

    class Killed(pl.Callback):
        def __init__(self, step):
            self.step = step

        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == self.step:
                trainer.save_checkpoint(tmp_path / f"{self.step}.ckpt")
                raise MemoryError("full")

    whole = fit(make_trainer, [make()], with_scheduler)
    assert len(whole) == STEPS
    for step in (1, 3, 4, 7, 11):
        with pytest.raises(MemoryError, match="full"):
            fit(make_trainer, [make(), Killed(step)], with_scheduler)
        assert fit(make_trainer, [make()], with_scheduler, tmp_path / f"{step}.ckpt") == whole[step:]
