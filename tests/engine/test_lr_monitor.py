"""A LearningRateMonitor logs the learning rate in use, wherever it stands."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import lr_scheduler as schedulers

from lightning_tricks import CosineDecay, GradualWarmup
from tests.lr_recording import ManualModule, RecordingAdam, RecordingModule, RecordingSGD, loader


class MemoryLogger(Logger):
    def __init__(self):
        super().__init__()
        self.rows = []

    name = "memory"
    version = 0

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, {name: float(value) for name, value in metrics.items()}))

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def of(self, name):
        return [row[name] for _, row in self.rows if name in row]


def scheduled(module, optimizer_class=RecordingSGD, interval="step", lr=0.1):
    momentum = {"momentum": 0.9} if optimizer_class is RecordingSGD else {}
    optimizer = optimizer_class(module.parameters(), lr=lr, **momentum)
    return [optimizer], [{"scheduler": schedulers.ExponentialLR(optimizer, 0.9), "interval": interval}]


def fit(make_trainer, module, callbacks, *, max_epochs=3, **kwargs):
    logger = MemoryLogger()
    trainer = make_trainer(callbacks=callbacks, logger=logger, log_every_n_steps=1, max_epochs=max_epochs, **kwargs)
    trainer.fit(module, loader())
    return logger


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("with_scheduler", [True, False])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_step(make_trainer, place, with_scheduler, accumulate):
    callbacks = [GradualWarmup(epochs=1), CosineDecay()]
    monitor = LearningRateMonitor("step")
    callbacks.insert(place, monitor)
    module = RecordingModule(scheduled if with_scheduler else None)
    logger = fit(make_trainer, module, callbacks, accumulate_grad_batches=accumulate)
    assert len(set(module.used)) > 3
    # Logged at the start of each batch, whether or not it ends an accumulation.
    assert logger.of("lr-SGD")[::accumulate] == pytest.approx(module.used, abs=1e-12)
    assert monitor.lrs["lr-SGD"][::accumulate] == pytest.approx(module.used, abs=1e-12)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_every_epoch(make_trainer, place, interval):
    callbacks = [GradualWarmup(epochs=1), CosineDecay()]
    callbacks.insert(place, LearningRateMonitor("epoch"))
    module = RecordingModule(lambda module: scheduled(module, interval=interval))
    logger = fit(make_trainer, module, callbacks)
    assert logger.of("lr-SGD") == pytest.approx(module.used[::4], abs=1e-12)


def test_at_the_schedulers_own_interval(make_trainer):
    module = RecordingModule(lambda module: scheduled(module, interval="epoch"))
    logger = fit(make_trainer, module, [GradualWarmup(epochs=1), LearningRateMonitor()])
    assert logger.of("lr-SGD") == pytest.approx(module.used[::4], abs=1e-12)


def test_several_monitors(make_trainer):
    monitors = [LearningRateMonitor("step", log_momentum=True), LearningRateMonitor("epoch")]
    module = RecordingModule(scheduled)
    logger = fit(make_trainer, module, [monitors[0], GradualWarmup(epochs=1), monitors[1]])
    assert monitors[0].lrs["lr-SGD"] == pytest.approx(module.used, abs=1e-12)
    assert monitors[1].lrs["lr-SGD"] == pytest.approx(module.used[::4], abs=1e-12)
    assert set(logger.of("lr-SGD-momentum")) == {0.9}


def test_a_monitor_from_the_module(make_trainer):
    class Own(RecordingModule):
        def configure_callbacks(self):
            return [LearningRateMonitor("step")]

    module = Own(scheduled)
    logger = fit(make_trainer, module, [GradualWarmup(epochs=1)])
    assert logger.of("lr-SGD") == pytest.approx(module.used, abs=1e-12)


def test_a_monitor_that_another_callback_adds(make_trainer):
    class Adding(pl.Callback):
        def setup(self, trainer, pl_module, stage):
            trainer.callbacks = [*trainer.callbacks, LearningRateMonitor("step")]

    module = RecordingModule(scheduled)
    logger = fit(make_trainer, module, [GradualWarmup(epochs=1), Adding()])
    assert logger.of("lr-SGD") == pytest.approx(module.used, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Two warm-ups multiply")
def test_momentum_that_a_scheduler_cycles(make_trainer):
    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [
            {"scheduler": schedulers.CyclicLR(optimizer, 0.01, 0.1, step_size_up=3), "interval": "step"}
        ]

    logged = [
        fit(make_trainer, RecordingModule(configure), [LearningRateMonitor("step", log_momentum=True), *tricks])
        for tricks in ([], [GradualWarmup(epochs=1)])
    ]
    assert logged[0].of("lr-SGD-momentum") == logged[1].of("lr-SGD-momentum")
    assert len(set(logged[0].of("lr-SGD-momentum"))) > 2


def test_two_optimizers_and_several_groups(make_trainer):
    def configure(module):
        groups = [{"params": [module.net.weight], "lr": 0.3}]
        return [RecordingSGD(groups, lr=0.1), RecordingAdam([module.net.bias], lr=0.01)]

    module = ManualModule(configure, steps=(1, 1))
    logger = fit(make_trainer, module, [GradualWarmup(epochs=1), LearningRateMonitor("step")], max_epochs=2)
    for optimizer, name in zip(module.trainer.optimizers, ("lr-SGD", "lr-Adam"), strict=True):
        assert logger.of(name) == pytest.approx([lr for [lr] in optimizer.used], abs=1e-12)


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # the monitor copies it with torch.tensor
def test_a_rate_that_is_a_tensor(make_trainer):
    rate = torch.tensor(0.1, dtype=torch.float64)
    module = RecordingModule(lambda module: RecordingAdam(module.parameters(), lr=rate, foreach=False))
    monitor = LearningRateMonitor("step")
    logger = fit(make_trainer, module, [GradualWarmup(epochs=2), monitor])
    assert logger.of("lr-Adam") == pytest.approx(module.used, abs=1e-12)
    assert [float(lr) for lr in monitor.lrs["lr-Adam"]] == pytest.approx(module.used, abs=1e-12)
    assert module.trainer.optimizers[0].param_groups[0]["lr"] is rate
    assert float(rate) == 0.1


def test_only_the_monitor_is_shown_the_rate_in_use(make_trainer):
    seen = set()

    class Looking(pl.Callback):
        def on_train_batch_start(self, trainer, *args):
            seen.add(trainer.optimizers[0].param_groups[0]["lr"])

        on_train_epoch_start = on_train_batch_start

    class AnotherLooking(Looking):
        pass

    module = RecordingModule()
    fit(make_trainer, module, [Looking(), LearningRateMonitor("step"), AnotherLooking(), GradualWarmup(epochs=1)])
    assert seen == {0.1}


def test_a_hook_that_returns_minus_1_leaves_the_nominal_rate(make_trainer):
    class Skipping(RecordingModule):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 1 else None

    module = Skipping(lambda module: scheduled(module, interval="epoch"))
    fit(make_trainer, module, [LearningRateMonitor("step"), GradualWarmup(steps=4)])
    # The epochs are cut short; the scheduler takes its steps at the batch that is skipped.
    plain = Skipping(lambda module: scheduled(module, interval="epoch"))
    fit(make_trainer, plain, [])
    expected = [lr * min(step + 1, 4) / 4 for step, lr in enumerate(plain.used)]
    assert module.used == pytest.approx(expected, abs=1e-12)


def test_a_monitor_that_raises_leaves_the_nominal_rate_and_the_callbacks(make_trainer):
    class Failing(LearningRateMonitor):
        def on_train_batch_start(self, trainer, *args, **kwargs):
            assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.025)
            raise KeyError("no logger today")

    callbacks = [Failing("step"), GradualWarmup(epochs=1)]
    module = RecordingModule()
    trainer = make_trainer(callbacks=callbacks, logger=MemoryLogger())
    with pytest.raises(KeyError, match="no logger today"):
        trainer.fit(module, loader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1
    assert trainer.callbacks[:2] == callbacks


def test_the_callbacks_are_the_users_own_after_the_fit(make_trainer):
    callbacks = [LearningRateMonitor("step"), GradualWarmup(epochs=1)]
    trainer = make_trainer(callbacks=callbacks, logger=MemoryLogger())
    before = list(trainer.callbacks)
    trainer.fit(RecordingModule(), loader())
    assert trainer.callbacks == before


def test_either_package_of_lightning_logs_the_rate_in_use(make_trainer, tmp_path):
    import pytorch_lightning

    class Module(pytorch_lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(3, 2)

        def training_step(self, batch, batch_idx):
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self):
            return RecordingSGD(self.parameters(), lr=0.1)

    class Subclass(pytorch_lightning.callbacks.LearningRateMonitor):
        pass

    theirs = [pytorch_lightning.callbacks.LearningRateMonitor("step"), Subclass("step")]
    ours = LearningRateMonitor("step")
    fit(make_trainer, RecordingModule(), [GradualWarmup(epochs=1), theirs[0], ours], max_epochs=1)
    assert theirs[0].lrs["lr-SGD"] == ours.lrs["lr-SGD"] == pytest.approx([0.025, 0.05, 0.075, 0.1], abs=1e-12)

    trainer = pytorch_lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=pytorch_lightning.loggers.CSVLogger(tmp_path),
        default_root_dir=tmp_path,
        callbacks=[*theirs, GradualWarmup(epochs=1), ours], enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(Module(), loader())
    for monitor in (*theirs, ours):
        assert monitor.lrs["lr-SGD"] == pytest.approx([0.025, 0.05, 0.075, 0.1], abs=1e-12)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1


def test_an_accumulation_scheduler_of_the_other_package_is_seen(make_trainer):
    import pytorch_lightning

    scheduler = pytorch_lightning.callbacks.GradientAccumulationScheduler({1: 2})
    with pytest.raises(MisconfigurationException, match="GradientAccumulationScheduler changes it during the run"):
        fit(make_trainer, RecordingModule(), [CosineDecay(), scheduler])
