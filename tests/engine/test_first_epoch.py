"""After the first epoch: were the steps made those that its batches suggest?"""

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import lr_scheduler as schedulers
from torchdata.stateful_dataloader import StatefulDataLoader

from lightning_tricks import CosineDecay, GradualWarmup, LRTrick, StepDecay
from tests.lr_recording import ManualModule, RecordingModule, RecordingSGD, loader, vectors


class EveryNth(RecordingModule):
    """Overrides `optimizer_step` so that only every n-th batch steps."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        if (batch_idx + 1) % self.n == 0:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        else:
            optimizer_closure()


class SometimesManual(ManualModule):
    """Leaves out the steps of some batches."""

    def __init__(self, leaves_out):
        super().__init__()
        self.leaves_out = leaves_out

    def training_step(self, batch, batch_idx):
        if batch_idx not in self.leaves_out:
            super().training_step(batch, batch_idx)


def two(module):
    return [RecordingSGD([module.net.weight], lr=0.1), RecordingSGD([module.net.bias], lr=0.1)]


class EveryOther(ManualModule):
    """The second optimizer steps at every other batch."""

    def training_step(self, batch, batch_idx):
        self.steps = (1, batch_idx % 2)
        super().training_step(batch, batch_idx)


class Once(LRTrick):
    """A user's trick that asks for epochs itself."""

    def resolve(self, length, tricks):
        self.end = length.steps("Once", 1)

    def factor(self, step):
        return 0.5 if step < self.end else 1.0


ON_BATCHES = [lambda: GradualWarmup(epochs=1), CosineDecay, lambda: StepDecay(every_epochs=1), Once]
OTHERS = {
    "an override that steps at every fourth batch": (lambda: EveryNth(4), r"8 steps .* made \[2\]"),
    "an override that never steps": (lambda: EveryNth(100), r"8 steps .* made \[0\]"),
    "an override that steps at every other batch": (lambda: EveryNth(2), r"8 steps .* made \[4\]"),
    "manual accumulation": (lambda: SometimesManual({0, 2, 4, 6}), r"8 steps .* made \[4\]"),
    "two steps a batch": (lambda: ManualModule(steps=(2,)), r"8 steps .* made \[16\]"),
    "one in eight left out": (lambda: SometimesManual({3}), r"8 steps .* made \[7\]"),
    "one of two at every other batch": (lambda: EveryOther(two), r"8 steps .* made \[8, 4\]"),
    "one of two that is never stepped": (lambda: ManualModule(two, steps=(1, 0)), r"8 steps .* made \[8, 0\]"),
}


@pytest.mark.parametrize("trick", ON_BATCHES)
@pytest.mark.parametrize(("make", "message"), OTHERS.values(), ids=OTHERS)
def test_another_number_of_steps_asks_for_lengths_in_steps(make_trainer, make, message, trick):
    module = make()
    trainer = make_trainer(callbacks=[trick()], max_epochs=2)
    with pytest.raises(MisconfigurationException, match=message + "; give steps= and total_steps= instead of epochs"):
        trainer.fit(module, loader(8))
    assert trainer.current_epoch == 0
    for optimizer in trainer.optimizers:
        assert not optimizer._optimizer_step_pre_hooks
        assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(("make", "message"), OTHERS.values(), ids=OTHERS)
def test_lengths_in_steps_allow_any_number_of_them(make_trainer, make, message):
    trainer = make_trainer(callbacks=[GradualWarmup(steps=2), CosineDecay(total_steps=16)], max_epochs=2)
    if r"made \[0\]" in message:
        with pytest.raises(MisconfigurationException, match=r"no optimizer made a step there: \[0\].* total_steps="):
            trainer.fit(make(), loader(8))
    else:
        trainer.fit(make(), loader(8))
        assert trainer.current_epoch == 2


def test_only_the_tricks_that_count_batches_are_named(make_trainer):
    tricks = [GradualWarmup(steps=2), CosineDecay()]
    with pytest.raises(MisconfigurationException, match=r"^CosineDecay took each optimizer"):
        make_trainer(callbacks=tricks).fit(EveryNth(2), loader())


def test_max_steps_alone_is_no_count_of_batches(make_trainer):
    module = EveryNth(2)
    # Lightning's global step counts the calls of the override.
    make_trainer(callbacks=[CosineDecay()], max_epochs=-1, max_steps=6).fit(module, loader())
    assert len(module.used) == 3


ALLOWED = {
    "one in ten left out": (lambda: SometimesManual({3}), 10, {}),
    "accumulation": (RecordingModule, 9, {"accumulate_grad_batches": 2}),
    "accumulation of more than an epoch": (RecordingModule, 3, {"accumulate_grad_batches": 5}),
    "a part of the batches": (RecordingModule, 9, {"limit_train_batches": 5}),
    "a run shorter than an epoch": (RecordingModule, 9, {"max_steps": 3}),
    "a short run that accumulates": (RecordingModule, 9, {"max_steps": 2, "accumulate_grad_batches": 3}),
    "a single batch": (RecordingModule, 9, {"fast_dev_run": True}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "batches", "kwargs"), ALLOWED.values(), ids=ALLOWED)
def test_what_the_batches_suggest_is_no_error(make_trainer, make, batches, kwargs):
    module = make()
    make_trainer(callbacks=[CosineDecay(0.5)], max_epochs=2, **kwargs).fit(module, loader(batches))
    assert module.used


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_batches_without_a_loss_are_steps_as_lightning_takes_them(make_trainer):
    class Skipping(RecordingModule):
        def training_step(self, batch, batch_idx):
            return None if batch_idx % 2 else super().training_step(batch, batch_idx)

    module = Skipping()
    make_trainer(callbacks=[CosineDecay()], max_epochs=2).fit(module, loader())
    assert len(module.used) == 8


def test_a_run_that_is_stopped_in_its_first_epoch(make_trainer):
    class Stopping(RecordingModule):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.trainer.should_stop = batch_idx == 2

    module = Stopping()
    make_trainer(callbacks=[CosineDecay()], max_epochs=2).fit(module, loader(8))
    assert len(module.used) == 3


def test_early_stopping_after_the_first_epoch(make_trainer):
    stopping = EarlyStopping("constant", patience=1, check_on_train_epoch_end=True)
    module = RecordingModule()
    make_trainer(callbacks=[stopping, CosineDecay()], max_epochs=9).fit(module, loader())
    assert len(module.used) == 8


@pytest.mark.filterwarnings("ignore:In CPU autocast, but the target dtype is not supported")
@pytest.mark.parametrize("manual", [False, True])
def test_steps_that_the_scaler_of_lightning_skips_were_asked_for(make_trainer, manual):
    """The first ones of a run often, since the scale begins high."""

    class Overflowing(ManualModule):
        def training_step(self, batch, batch_idx):
            loss = self.net(batch[0]).float().square().mean() * (float("inf") if batch_idx < 3 else 1.0)
            if not manual:
                return loss
            self.optimizers().zero_grad()
            self.manual_backward(loss)
            self.optimizers().step()
            return None

    module = Overflowing()
    module.automatic_optimization = not manual
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    make_trainer(callbacks=[CosineDecay()], max_epochs=1, plugins=[precision]).fit(module, loader(8))
    assert len(module.used) == 5


@pytest.mark.filterwarnings("ignore:In CPU autocast, but the target dtype is not supported")
def test_they_excuse_no_override_that_leaves_steps_out(make_trainer):
    class Overflowing(EveryNth):
        def training_step(self, batch, batch_idx):
            return self.net(batch[0]).float().square().mean()

    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    with pytest.raises(MisconfigurationException, match=r"8 steps .* made \[2\]"):
        make_trainer(callbacks=[CosineDecay()], plugins=[precision]).fit(Overflowing(4), loader(8))


@pytest.mark.parametrize("at", [3, 7, 11])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_that_resumes_in_the_middle_of_an_epoch(make_trainer, tmp_path, at, accumulate):
    def run(callbacks=(), path=None):
        module = RecordingModule()
        trainer = make_trainer(callbacks=[CosineDecay(), *callbacks], max_epochs=2, accumulate_grad_batches=accumulate)
        data = StatefulDataLoader(vectors(8), batch_size=2)
        trainer.fit(module, data, ckpt_path=path, weights_only=None if path is None else True)
        return module.used

    path = tmp_path / "middle.ckpt"
    whole = run([Saving(path, at)])
    resumed = run(path=path)
    assert resumed
    assert resumed == whole[-len(resumed) :]


class Saving(GradualWarmup):
    """Saves after so many batches; as a warm-up of no length it does nothing else."""

    def __init__(self, path, at):
        super().__init__(steps=0)
        self.path, self.at = path, at

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.fit_loop.epoch_loop.total_batch_idx + 1 == self.at:
            trainer.save_checkpoint(self.path)


def test_a_scheduler_of_the_modules_own_changes_nothing(make_trainer):
    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=0.1)
        return [optimizer], [schedulers.StepLR(optimizer, 1)]

    module = RecordingModule(configure)
    make_trainer(callbacks=[GradualWarmup(epochs=1)], max_epochs=2).fit(module, loader())
    assert len(module.used) == 8
