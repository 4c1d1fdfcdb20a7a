import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torchdata.stateful_dataloader import StatefulDataLoader

from lightning_tricks import ConstantWarmup, CosineDecay, GradualWarmup, PolynomialDecay
from tests.engine.test_lr_monitor import MemoryLogger
from tests.lr_recording import ManualModule, RecordingModule, RecordingSGD, loader, vectors


class Climbing(RecordingModule):
    """Logs a metric whose value after the i-th batch (from 1) is 0.1·i, at the step or as the epoch's mean."""

    on_epoch = False
    sign = 1

    def training_step(self, batch, batch_idx):
        value = self.sign * 0.1 * (self.trainer.global_step + 1)
        self.log("metric", value, on_step=not self.on_epoch, on_epoch=self.on_epoch)
        return super().training_step(batch, batch_idx)


def fit(make_trainer, callbacks, module=None, *, max_epochs=2, **kwargs):
    module = module or Climbing()
    make_trainer(callbacks=callbacks, max_epochs=max_epochs, **kwargs).fit(module, loader())
    return module.used


@pytest.mark.parametrize(
    ("arguments", "factors"),
    [
        ({"epochs": 1}, [0.1] * 4 + [1] * 4),
        ({"epochs": 0.5, "factor": 0.3}, [0.3] * 2 + [1] * 6),
        ({"steps": 3}, [0.1] * 3 + [1] * 5),
        ({"steps": 0}, [1] * 8),
    ],
)
def test_rates_that_the_optimizer_uses(make_trainer, arguments, factors):
    trick = ConstantWarmup(**arguments)
    assert fit(make_trainer, [trick]) == pytest.approx([0.1 * factor for factor in factors], abs=1e-12)
    assert trick.factor(10**6) == 1.0


def used_until(end, n=8):
    return pytest.approx([0.01] * end + [0.1] * (n - end), abs=1e-12)


@pytest.mark.parametrize(("threshold", "end"), [(0.25, 3), (0.05, 1), (0.0, 1), (10.0, 6)])
@pytest.mark.parametrize("sign", [1, -1])
def test_it_ends_when_a_metric_of_the_steps_crosses(make_trainer, threshold, end, sign):
    module = Climbing()
    module.sign = sign
    mode = "max" if sign == 1 else "min"
    trick = ConstantWarmup(steps=6, monitor="metric", threshold=sign * threshold, mode=mode)
    assert fit(make_trainer, [trick], module) == used_until(end)


def test_a_metric_at_the_threshold_has_not_crossed_it(make_trainer):
    class Still(RecordingModule):
        def training_step(self, batch, batch_idx):
            self.log("metric", 0.5)
            return super().training_step(batch, batch_idx)

    for mode in ("max", "min"):
        trick = ConstantWarmup(steps=6, monitor="metric", threshold=0.5, mode=mode)
        assert fit(make_trainer, [trick], Still()) == used_until(6)


def test_the_other_mode_waits(make_trainer):
    trick = ConstantWarmup(steps=6, monitor="metric", threshold=0.0, mode="min")
    assert fit(make_trainer, [trick]) == used_until(6)


def test_it_ends_when_a_metric_of_the_epochs_crosses(make_trainer):
    module = Climbing()
    module.on_epoch = True
    # The epochs' means are 0.25, 0.65 and 1.05.
    trick = ConstantWarmup(steps=12, monitor="metric", threshold=0.5)
    assert fit(make_trainer, [trick], module, max_epochs=3) == used_until(8, 12)


class Validated(RecordingModule):
    def validation_step(self, batch, batch_idx):
        self.log("val", 0.1 * self.trainer.global_step)

    def val_dataloader(self):
        return loader(1)


@pytest.mark.parametrize(("interval", "end"), [(0.5, 6), (1.0, 8)])
def test_it_ends_when_a_metric_of_the_validation_crosses(make_trainer, interval, end):
    trick = ConstantWarmup(steps=12, monitor="val", threshold=0.5)
    used = fit(make_trainer, [trick], Validated(), max_epochs=3, val_check_interval=interval)
    assert used == used_until(end, 12)


def test_a_validation_every_two_epochs_is_waited_for(make_trainer):
    trick = ConstantWarmup(steps=16, monitor="val", threshold=0.5)
    used = fit(make_trainer, [trick], Validated(), max_epochs=4, check_val_every_n_epoch=2)
    assert used == used_until(8, 16)


@pytest.mark.parametrize("order", [1, -1])
def test_decays_begin_where_it_has_ended(make_trainer, order):
    tricks = [ConstantWarmup(steps=6, monitor="metric", threshold=0.35), PolynomialDecay()][::order]
    used = fit(make_trainer, tricks)
    assert used == pytest.approx([0.01] * 4 + [0.1, 0.075, 0.05, 0.025], abs=1e-12)


def test_decays_begin_where_the_longest_warmup_ends(make_trainer):
    tricks = [ConstantWarmup(steps=6, monitor="metric", threshold=0.15), GradualWarmup(steps=4), PolynomialDecay()]
    used = fit(make_trainer, tricks)
    assert used == pytest.approx([0.0025, 0.005, 0.075, 0.1, 0.1, 0.075, 0.05, 0.025], abs=1e-12)


@pytest.mark.parametrize("order", [1, -1])
def test_a_monitor_logs_the_rate_in_use_at_the_end_too(make_trainer, order):
    monitor = LearningRateMonitor("step")
    trick = ConstantWarmup(steps=6, monitor="metric", threshold=0.25)
    logger = MemoryLogger()
    used = fit(make_trainer, [trick, monitor][::order], logger=logger, log_every_n_steps=1)
    assert monitor.lrs["lr-SGD"] == pytest.approx(used, abs=1e-12)
    assert used == used_until(3)


class Saving(pl.Callback):
    def __init__(self, path, at):
        self.path, self.at = path, at

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.at:
            trainer.save_checkpoint(self.path)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_the_end_is_in_the_checkpoint(make_trainer, tmp_path):
    path = tmp_path / "after.ckpt"
    tricks = [ConstantWarmup(steps=12, monitor="metric", threshold=0.15), PolynomialDecay()]
    whole = fit(make_trainer, [*tricks, Saving(path, 4)], max_epochs=3)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["lightning_tricks"]["lr"]["early_ends"]["ConstantWarmup 0"] == 2

    class Low(Climbing):
        sign = -1  # the metric that would end it never comes again

    fresh = [ConstantWarmup(steps=12, monitor="metric", threshold=0.15), PolynomialDecay()]
    module = Low()
    make_trainer(callbacks=fresh, max_epochs=3).fit(module, loader(), ckpt_path=path, weights_only=True)
    assert module.used == pytest.approx(whole[4 : 4 + len(module.used)], abs=1e-15)
    assert len(module.used) >= 8


MONITORS = {
    "of the steps": (Climbing, "metric", {}),
    "of the epochs": (type("Epochs", (Climbing,), {"on_epoch": True}), "metric", {"save_on_train_epoch_end": True}),
    "of the validation": (Validated, "val", {"save_on_train_epoch_end": True}),
}


@pytest.mark.parametrize(("make_module", "monitor", "when"), MONITORS.values(), ids=MONITORS.keys())
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used")
def test_a_run_that_is_stopped_when_the_metric_has_just_crossed(make_trainer, tmp_path, make_module, monitor, when):
    """The uninterrupted run sees it at the beginning of the next step, and so does the resumed one."""

    def run(callbacks=(), ckpt_path=None):
        module = make_module()
        tricks = [ConstantWarmup(steps=16, monitor=monitor, threshold=0.5), PolynomialDecay()]
        trainer = make_trainer(callbacks=[*tricks, *callbacks], max_epochs=4, enable_checkpointing=bool(callbacks))
        data = StatefulDataLoader(vectors(), batch_size=2)
        trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
        return module.used, tricks[0].early_end

    every = when or {"every_n_train_steps": 1}
    whole, end = run([ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, **every)])
    assert end == (6 if monitor == "metric" and not when else 8)
    resumed, resumed_end = run(ckpt_path=tmp_path / f"step={end}.ckpt")
    assert resumed == whole[end:]
    assert resumed_end == end


def test_the_same_callback_in_a_second_trainer_starts_anew(make_trainer):
    trick = ConstantWarmup(steps=6, monitor="metric", threshold=0.15)
    assert fit(make_trainer, [trick]) == used_until(2)
    never = Climbing()
    never.sign = -1
    assert fit(make_trainer, [trick], never) == used_until(6)


def test_a_metric_that_is_not_logged_in_a_whole_epoch_is_an_error(make_trainer):
    trick = ConstantWarmup(steps=6, monitor="typo", threshold=0.15)
    with pytest.raises(
        MisconfigurationException, match=r"monitor='typo'\) waits .* there are \['constant', 'metric'\]"
    ):
        fit(make_trainer, [trick])


def test_several_optimizers_are_refused(make_trainer):
    def configure(module):
        return [RecordingSGD([module.net.weight], lr=0.1), RecordingSGD([module.net.bias], lr=0.1)]

    trick = ConstantWarmup(steps=6, monitor="metric", threshold=0.15)
    with pytest.raises(MisconfigurationException, match=r"needs one optimizer, .* but there are 2"):
        fit(make_trainer, [trick], ManualModule(configure, steps=(1, 1)))


def test_factor_without_a_trainer():
    assert [ConstantWarmup(0.2, steps=2).factor(step) for step in range(4)] == [0.2, 0.2, 1.0, 1.0]
    with pytest.raises(MisconfigurationException, match=r"ConstantWarmup\(epochs=5\) needs the run's steps per epoch"):
        ConstantWarmup(epochs=5).factor(0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "ConstantWarmup needs either epochs or steps, but got epochs=None and steps=None"),
        ({"epochs": 1, "steps": 1}, ValueError, "ConstantWarmup needs either epochs or steps, but got"),
        ({"steps": 1, "monitor": "x"}, ValueError, "monitor and threshold together or neither, but got monitor='x'"),
        ({"steps": 1, "threshold": 1.0}, ValueError, "monitor and threshold together or neither"),
        ({"steps": 1, "monitor": 1, "threshold": 1.0}, TypeError, "monitor to be a string, but got 1"),
        ({"steps": 1, "monitor": "x", "threshold": "y"}, TypeError, "threshold to be a number"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ConstantWarmup(**arguments)


def test_no_jump_but_its_own_before_a_cosine(make_trainer):
    used = fit(make_trainer, [ConstantWarmup(epochs=1), CosineDecay()], max_epochs=3)
    assert used[:5] == pytest.approx([0.01] * 4 + [0.1], abs=1e-12)


@pytest.mark.parametrize("value", [0.2, 0.7, 0.8])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_metric_that_is_rounded_when_it_is_logged_has_not_crossed_either(make_trainer, value, mode):
    class Still(RecordingModule):
        def training_step(self, batch, batch_idx):
            self.log("metric", value)
            return super().training_step(batch, batch_idx)

    trick = ConstantWarmup(steps=6, monitor="metric", threshold=value, mode=mode)
    assert fit(make_trainer, [trick], Still()) == used_until(6)


def broadcasts(make_trainer, module, **kwargs):
    """How often the ranks would wait for rank 0, and the rates used."""
    calls = []
    trick = ConstantWarmup(steps=16, monitor="metric" if isinstance(module, Climbing) else "val", threshold=100.0)
    trainer = make_trainer(
        callbacks=[LearningRateMonitor("step"), trick], max_epochs=4, logger=MemoryLogger(), **kwargs
    )
    plain = trainer.strategy.broadcast

    def counting(obj, src=0):
        if isinstance(obj, tuple):
            calls.append((trainer.current_epoch, trainer.fit_loop.batch_idx))
        return plain(obj, src)

    trainer.strategy.broadcast = counting
    trainer.fit(module, loader())
    assert module.used == used_until(16, 16)
    return calls


def test_a_metric_of_the_steps_is_broadcast_once_a_batch(make_trainer):
    assert len(broadcasts(make_trainer, Climbing())) == 16


def test_a_metric_of_the_epochs_is_broadcast_once_an_epoch_when_it_is_known(make_trainer):
    module = Climbing()
    module.on_epoch = True
    epochs = [epoch for epoch, _ in broadcasts(make_trainer, module)]
    assert epochs == [0, 0, 0, 0, 1, 2, 3]  # in the first epoch it could still appear at any step


def test_a_metric_of_the_validation_is_broadcast_after_each(make_trainer):
    epochs = [
        epoch for epoch, _ in broadcasts(make_trainer, Validated(), val_check_interval=0.5, num_sanity_val_steps=0)
    ]
    assert epochs == [0, 0, 0, 1, 1, 2, 2, 3, 3]
