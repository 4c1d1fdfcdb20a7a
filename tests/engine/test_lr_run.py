"""What the driver leaves behind: nothing, also where a run ends badly, and nothing in what the Tuner finds."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.tuner import Tuner
from torch.optim import lr_scheduler as schedulers

from lightning_tricks import ConstantWarmup, CosineDecay, GradualWarmup, LinearScaling
from tests.engine.test_lr_monitor import MemoryLogger
from tests.lr_recording import RecordingModule, RecordingSGD, loader, vectors

pytestmark = pytest.mark.filterwarnings("ignore:.*has nothing to hold")  # the hold is to be left behind, not to work


def hooks_of(optimizer):
    return [
        *optimizer._optimizer_step_pre_hooks.values(),
        *optimizer._optimizer_step_post_hooks.values(),
        *optimizer._optimizer_state_dict_post_hooks.values(),
    ]


def tricks():
    return [GradualWarmup(epochs=1, hold_scheduler=True), CosineDecay()]


class FailingModule(RecordingModule):
    """Raises at the second call of one hook, or of the optimizer's arithmetic."""

    def __init__(self, place):
        super().__init__(self.make)
        self.place = place
        self.calls = 0

    def make(self, module):
        class Failing(RecordingSGD):
            def _init_group(self, group, *args, **kwargs):
                module.reach("arithmetic")
                return super()._init_group(group, *args, **kwargs)

        self.made = Failing(self.parameters(), lr=0.1)
        return [self.made], [{"scheduler": schedulers.ExponentialLR(self.made, 0.5), "interval": "epoch"}]

    def reach(self, place):
        self.calls += place == self.place
        if place == self.place and self.calls == 2:
            if place == "arithmetic":
                assert self.made.param_groups[0]["lr"] != 0.1
            raise KeyError(place)

    def on_train_batch_start(self, batch, batch_idx):
        self.reach("on_train_batch_start")

    def training_step(self, batch, batch_idx):
        self.reach("training_step")
        return super().training_step(batch, batch_idx)

    def backward(self, loss):
        self.reach("backward")
        super().backward(loss)

    def on_before_optimizer_step(self, optimizer):
        self.reach("on_before_optimizer_step")

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.reach("on_train_batch_end")

    def on_validation_start(self):
        self.reach("on_validation_start")

    def validation_step(self, batch, batch_idx):
        pass

    def on_train_epoch_start(self):
        self.reach("on_train_epoch_start")

    def on_train_epoch_end(self):
        self.reach("on_train_epoch_end")

    def on_save_checkpoint(self, checkpoint):
        self.reach("on_save_checkpoint")


PLACES = [
    *("on_train_batch_start", "training_step", "backward", "on_before_optimizer_step", "arithmetic"),
    *("on_train_batch_end", "on_validation_start", "on_train_epoch_start", "on_train_epoch_end"),
]


@pytest.mark.parametrize("place", PLACES)
def test_an_exception_anywhere_leaves_nominal_rates_and_nothing_else(make_trainer, place):
    module = FailingModule(place)
    callbacks = [LearningRateMonitor("step"), *tricks()]
    trainer = make_trainer(callbacks=callbacks, max_epochs=3, logger=MemoryLogger(), num_sanity_val_steps=0)
    before = list(trainer.callbacks)
    with pytest.raises(KeyError, match=place):
        trainer.fit(module, loader(), loader(1))
    assert module.made.param_groups[0]["lr"] in (0.1, 0.05, 0.025)
    assert not hooks_of(module.made)
    assert "lr_scheduler_step" not in vars(module)
    assert trainer.callbacks == before


# Those of a fit. Not on_exception: where that of an earlier callback raises, Lightning does not call the later ones'.
HOOKS = [
    name
    for name in vars(pl.Callback)
    if name.startswith(("on_", "setup", "teardown", "state_dict", "load_state_dict"))
    and not name.startswith(("on_test", "on_predict", "on_sanity", "on_exception"))
]


class Neighbour(pl.Callback):
    """Raises at one hook, if it is told to."""

    def __init__(self, hook=None):
        if hook is not None:
            setattr(self, hook, self.fail)

    def fail(self, *args, **kwargs):
        raise KeyError("from the neighbour")

    def state_dict(self):
        return {"something": 1}


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used")
@pytest.mark.parametrize("place", [0, 2, 3])
@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_at_any_hook_of_another_callback(make_trainer, tmp_path, hook, place):
    kwargs = {}
    if "load" in hook:
        earlier = make_trainer(callbacks=[Neighbour()])
        earlier.fit(FailingModule("nowhere"), loader(), loader(1))
        earlier.save_checkpoint(tmp_path / "earlier.ckpt")
        kwargs = {"ckpt_path": tmp_path / "earlier.ckpt", "weights_only": True}
    callbacks = [LearningRateMonitor("step"), *tricks(), ModelCheckpoint(tmp_path / "later")]
    callbacks.insert(place, Neighbour(hook))
    module = FailingModule("nowhere")
    trainer = make_trainer(
        callbacks=callbacks, max_epochs=2, logger=MemoryLogger(), num_sanity_val_steps=0, enable_checkpointing=True
    )
    before = list(trainer.callbacks)
    with pytest.raises(KeyError, match="from the neighbour"):
        trainer.fit(module, loader(), loader(1), **kwargs)
    for optimizer in trainer.optimizers:
        assert optimizer.param_groups[0]["lr"] in (0.1, 0.05, 0.025)
        assert not hooks_of(optimizer)
    assert "lr_scheduler_step" not in vars(module)
    assert trainer.callbacks == before


@pytest.mark.parametrize("stage", ["setup", "on_fit_start", "on_train_start"])
def test_an_exception_before_the_training(make_trainer, stage):
    class Failing(pl.Callback):
        pass

    def fail(*args, **kwargs):
        raise KeyError(stage)

    failing = Failing()
    setattr(failing, stage, fail)
    for callbacks in ([failing, *tricks()], [*tricks(), failing]):
        module = RecordingModule()
        trainer = make_trainer(callbacks=[LearningRateMonitor("step"), *callbacks], logger=MemoryLogger())
        before = list(trainer.callbacks)
        with pytest.raises(KeyError, match=stage):
            trainer.fit(module, loader())
        assert trainer.callbacks == before
        assert not any(hooks_of(optimizer) for optimizer in trainer.optimizers)
        assert "lr_scheduler_step" not in vars(module)


def test_nothing_is_left_after_a_fit(make_trainer):
    module = RecordingModule()
    trainer = make_trainer(callbacks=tricks(), max_epochs=2)
    before = list(trainer.callbacks)
    trainer.fit(module, loader())
    assert not hooks_of(trainer.optimizers[0])
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1
    assert trainer.callbacks == before
    backward = module.net(torch.ones(2, 3)).square().mean().backward
    backward()
    trainer.optimizers[0].step()
    assert module.used[-1] == 0.1


def test_the_module_trains_without_the_tricks_afterwards(make_trainer):
    module = RecordingModule()
    make_trainer(callbacks=tricks()).fit(module, loader())
    make_trainer().fit(module, loader())
    assert module.used == [0.1] * 4


# The Tuner


class Tunable(RecordingModule):
    def __init__(self):
        super().__init__(lambda module: RecordingSGD(module.parameters(), lr=module.lr))
        self.lr = 0.01
        self.batch_size = 2

    def train_dataloader(self):
        return torch.utils.data.DataLoader(vectors(16), batch_size=self.batch_size)


def all_tricks():
    return [GradualWarmup(epochs=1), CosineDecay(), ConstantWarmup(steps=2), LinearScaling(base_batch_size=1)]


def find_lr(make_trainer, callbacks):
    module = Tunable()
    trainer = make_trainer(callbacks=callbacks, max_epochs=3)
    finder = Tuner(trainer).lr_find(module, num_training=20, max_lr=0.5)
    return finder.results, module, trainer


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_lr_find_finds_what_it_finds_without_the_tricks(make_trainer):
    plain, plain_module, _ = find_lr(make_trainer, [])
    results, module, trainer = find_lr(make_trainer, all_tricks())
    assert results == plain
    assert module.lr == plain_module.lr
    assert len(trainer.callbacks) == len(make_trainer(callbacks=all_tricks()).callbacks)
    assert not any(hooks_of(optimizer) for optimizer in trainer.optimizers)


def test_a_fit_after_lr_find_is_a_fit(make_trainer):
    _, module, trainer = find_lr(make_trainer, all_tricks())
    lr = module.lr
    trainer.fit(module)
    reference = Tunable()
    reference.lr = lr
    make_trainer(callbacks=all_tricks(), max_epochs=3).fit(reference)
    assert module.used == reference.used
    assert len(module.used) == 48


def test_scale_batch_size_finds_what_it_finds_without_the_tricks(make_trainer):
    def find(callbacks):
        module = Tunable()
        trainer = make_trainer(callbacks=callbacks, max_epochs=3)
        size = Tuner(trainer).scale_batch_size(module, mode="power", steps_per_trial=2, max_trials=2)
        assert not any(hooks_of(optimizer) for optimizer in trainer.optimizers)
        return size, module, trainer

    plain, _, plain_trainer = find([])
    size, module, trainer = find(all_tricks())
    assert size == plain == module.batch_size
    assert len(trainer.callbacks) == len(plain_trainer.callbacks) + 4
    trainer.fit(module)
    reference = Tunable()
    reference.batch_size = size
    make_trainer(callbacks=all_tricks(), max_epochs=3).fit(reference)
    assert module.used == reference.used


class FinderAtEpoch(LearningRateFinder):
    """Searches again when an epoch begins, in the middle of the run."""

    def on_fit_start(self, *args):
        pass

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self.lr_find(trainer, pl_module)
            self.rates = list(self.optimal_lr.results["lr"])


def test_lr_find_in_the_middle_of_a_run(make_trainer):
    def callbacks():
        return [GradualWarmup(epochs=2, hold_scheduler=True), CosineDecay(), LinearScaling(base_batch_size=1)]

    finder = FinderAtEpoch(num_training_steps=8, update_attr=False, max_lr=0.5, early_stop_threshold=None)
    module = Tunable()
    make_trainer(callbacks=[*callbacks(), finder], max_epochs=3).fit(module)
    reference = Tunable()
    make_trainer(callbacks=callbacks(), max_epochs=3).fit(reference)
    # The search uses its own rates, and afterwards the run goes on where it was.
    after = 16 + len(finder.rates)
    assert len(set(finder.rates)) == 8
    assert module.used[16:after] == pytest.approx(finder.rates, abs=1e-12)
    assert module.used[:16] + module.used[after:] == pytest.approx(reference.used, abs=1e-12)
