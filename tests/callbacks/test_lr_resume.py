"""Checkpoints hold nominal learning rates and the counts; a resumed run uses what the uninterrupted one uses."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, ModelCheckpoint, OnExceptionCheckpoint
from torch.optim import lr_scheduler as schedulers
from torchdata.stateful_dataloader import StatefulDataLoader

from lightning_tricks import CosineDecay, GradualWarmup, LRTrick, PolynomialDecay
from tests.lr_recording import ManualModule, RecordingAdam, RecordingModule, RecordingSGD, loader, vectors

BATCHES, EPOCHS = 5, 4


def configure(module):
    optimizer = RecordingAdam(module.parameters(), lr=0.1)
    return [optimizer], [{"scheduler": schedulers.StepLR(optimizer, 4, 0.5), "interval": "step"}]


def tricks():
    return [GradualWarmup(epochs=1.5), CosineDecay(min_factor=0.01)]


def stateful_loader():
    return StatefulDataLoader(vectors(BATCHES), batch_size=2)


def start(make_trainer, callbacks, path=None, *, module=None, data=None, max_epochs=EPOCHS, **kwargs):
    module = module or RecordingModule(configure)
    trainer = make_trainer(max_epochs=max_epochs, callbacks=callbacks, **kwargs)
    trainer.fit(module, data or stateful_loader(), ckpt_path=path, weights_only=None if path is None else True)
    return module


class Halved(LRTrick):
    def factor(self, step):
        return 0.5


class Saving(pl.Callback):
    """Saves at one call of one hook."""

    def __init__(self, hook, path, at):
        self.calls = 0

        def save(trainer, *_):
            self.calls += 1
            if self.calls == at:
                trainer.save_checkpoint(path)

        setattr(self, hook, save)


def optimizer_rates(path):
    checkpoint = torch.load(path, weights_only=True)
    return [group["lr"] for state in checkpoint["optimizer_states"] for group in state["param_groups"]]


@pytest.mark.parametrize("at", [1, 3, 7, 8, 12, 19])
def test_resumed_in_the_middle_of_an_epoch(make_trainer, tmp_path, at):
    path = tmp_path / "middle.ckpt"
    whole = start(make_trainer, [*tricks(), Saving("on_train_batch_end", path, at)])
    resumed = start(make_trainer, tricks(), path)
    assert len(whole.used) == EPOCHS * BATCHES
    assert resumed.used == whole.used[at:]
    assert torch.equal(resumed.net.weight, whole.net.weight)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_resumed_from_the_end_of_an_epoch(make_trainer, tmp_path, epochs):
    def run(path=None):
        saving = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=1)
        return start(make_trainer, [*tricks(), saving], path, enable_checkpointing=True, data=loader(BATCHES))

    whole = run()
    resumed = run(tmp_path / f"epoch={epochs - 1}.ckpt")
    assert resumed.used == whole.used[epochs * BATCHES :]
    assert torch.equal(resumed.net.weight, whole.net.weight)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
def test_resumed_from_a_validation_in_the_middle_of_an_epoch(make_trainer, tmp_path):
    class Validated(RecordingModule):
        def validation_step(self, batch, batch_idx):
            self.log("val", self.net(batch[0]).mean())

        def val_dataloader(self):
            return loader(1)

    def run(path=None):
        saving = ModelCheckpoint(tmp_path, "{step}", monitor="val", save_top_k=-1)
        module = Validated(configure)
        kwargs = {"enable_checkpointing": True, "val_check_interval": 2}
        return start(make_trainer, [*tricks(), saving], path, module=module, **kwargs)

    whole = run()
    resumed = run(tmp_path / "step=7.ckpt")
    assert resumed.used == whole.used[7:]
    assert torch.equal(resumed.net.weight, whole.net.weight)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_end"])
def test_stopped_by_max_steps_and_resumed(make_trainer, tmp_path, hook):
    path = tmp_path / "stopped.ckpt"
    lengths = [GradualWarmup(steps=5), CosineDecay(total_steps=20)]
    whole = start(make_trainer, lengths)
    stopped = start(make_trainer, [*lengths, Saving(hook, path, 7 if hook == "on_train_batch_end" else 1)], max_steps=7)
    resumed = start(make_trainer, lengths, path)
    if hook == "on_train_end":  # by then Lightning takes the epoch for finished, and leaves its last three batches out
        assert resumed.used == whole.used[7:17]
    else:
        assert stopped.used + resumed.used == whole.used
        assert torch.equal(resumed.net.weight, whole.net.weight)


def test_resumed_with_other_max_epochs_the_horizon_is_the_new_one(make_trainer, tmp_path):
    path = tmp_path / "short.ckpt"
    start(make_trainer, [CosineDecay(), Saving("on_train_epoch_end", path, 2)], module=RecordingModule(), max_epochs=3)
    # The step would have had 0.1·½(1 + cos(2π/3)) of 15 steps, and has 0.1·½(1 + cos(π/4)) of 40.
    jump = r"step 10 now uses 0\.0853553, but .* would have used 0\.025, for CosineDecay had another length"
    with pytest.warns(UserWarning, match=jump):
        resumed = start(make_trainer, [CosineDecay()], path, module=RecordingModule(), max_epochs=8)
    expected = [0.1 * CosineDecay(total_steps=8 * BATCHES).factor(step) for step in range(2 * BATCHES, 8 * BATCHES)]
    assert resumed.used == pytest.approx(expected, abs=1e-12)


def test_a_checkpoint_made_without_the_tricks_loaded_with_them(make_trainer, tmp_path):
    path = tmp_path / "plain.ckpt"
    start(make_trainer, [Saving("on_train_batch_end", path, 3)])
    whole = start(make_trainer, tricks())
    resumed = start(make_trainer, tricks(), path)
    assert resumed.used == whole.used[3:]


def test_a_checkpoint_made_with_the_tricks_loaded_without_them(make_trainer, tmp_path):
    path = tmp_path / "tricks.ckpt"
    start(make_trainer, [*tricks(), Saving("on_train_batch_end", path, 3)])
    whole = start(make_trainer, [])
    assert start(make_trainer, [], path).used == whole.used[3:]


def two_optimizers(module):
    return [RecordingSGD([module.net.weight], lr=0.1), RecordingSGD([module.net.bias], lr=0.01)]


def used_by_each(module):
    return [[lr for [lr] in optimizer.used] for optimizer in module.trainer.optimizers]


def test_two_optimizers_are_resumed_each_at_its_own_count(make_trainer, tmp_path):
    path = tmp_path / "two.ckpt"
    lengths = [GradualWarmup(steps=8), CosineDecay(total_steps=40)]

    def module():
        return ManualModule(two_optimizers, steps=(2, 1))

    whole = start(make_trainer, [*lengths, Saving("on_train_batch_end", path, 3)], module=module())
    resumed = start(make_trainer, lengths, path, module=module())
    critic, generator = used_by_each(whole)
    assert used_by_each(resumed) == [critic[6:], generator[3:]]


def test_two_optimizers_without_a_record_warn(make_trainer, tmp_path):
    path = tmp_path / "two.ckpt"
    start(make_trainer, [Saving("on_train_batch_end", path, 3)], module=ManualModule(two_optimizers, steps=(1, 1)))
    with pytest.warns(UserWarning, match="holds no step counts .* which of the 2 optimizers"):
        resumed = start(make_trainer, [GradualWarmup(steps=4)], path, module=ManualModule(two_optimizers, steps=(1, 1)))
    assert used_by_each(resumed)[0][:4] == pytest.approx([0.025, 0.05, 0.075, 0.1], abs=1e-12)


class BackboneModule(RecordingModule):
    def __init__(self):
        super().__init__(lambda module: RecordingSGD(module.net.parameters(), lr=0.1))
        self.backbone = torch.nn.Linear(3, 3)

    def training_step(self, batch, batch_idx):
        return self.net(self.backbone(batch[0])).square().mean()


def test_resumed_after_a_group_was_added(make_trainer, tmp_path):
    path = tmp_path / "unfrozen.ckpt"

    def callbacks():
        return [*tricks(), BackboneFinetuning(unfreeze_backbone_at_epoch=1, lambda_func=lambda _: 1.5)]

    torch.manual_seed(0)
    whole = start(make_trainer, [*callbacks(), Saving("on_train_batch_end", path, 8)], module=BackboneModule())
    resumed = start(make_trainer, callbacks(), path, module=BackboneModule())
    used = whole.trainer.optimizers[0].used
    assert [len(rates) for rates in used] == [1] * 5 + [2] * 15
    assert resumed.trainer.optimizers[0].used == used[8:]


# What a checkpoint holds


@pytest.mark.parametrize(
    "hook",
    ["on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_train_batch_end", "on_train_end"],
)
def test_it_holds_nominal_rates(make_trainer, tmp_path, hook):
    path = tmp_path / "any.ckpt"
    start(make_trainer, [Saving(hook, path, 1), *tricks()], module=RecordingModule())
    assert optimizer_rates(path) == [0.1]


def test_written_in_the_training_step_it_holds_nominal_rates(make_trainer, tmp_path):
    class Self(RecordingModule):
        def training_step(self, batch, batch_idx):
            self.trainer.save_checkpoint(tmp_path / "inside.ckpt")
            return super().training_step(batch, batch_idx)

    start(make_trainer, tricks(), module=Self())
    assert optimizer_rates(tmp_path / "inside.ckpt") == [0.1]


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)])
def test_written_in_the_arithmetic_itself_it_holds_nominal_rates(make_trainer, tmp_path, rate):
    class Greedy(RecordingSGD):
        def _init_group(self, group, *args, **kwargs):
            assert group["lr"] == rate_before / 2
            module.trainer.save_checkpoint(tmp_path / "inside.ckpt")
            return super()._init_group(group, *args, **kwargs)

    rate_before = float(rate)
    module = RecordingModule(lambda module: Greedy(module.parameters(), lr=rate))
    start(make_trainer, [Halved()], module=module)
    assert [float(lr) for lr in optimizer_rates(tmp_path / "inside.ckpt")] == [rate_before]


def test_it_holds_the_counts_in_plain_types(make_trainer, tmp_path):
    path = tmp_path / "any.ckpt"
    start(make_trainer, [Saving("on_train_batch_end", path, 3), *tricks()])
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["lightning_tricks"]["lr"]["steps"] == [3]
    assert not any("Warmup" in key for key in checkpoint["callbacks"])


def test_one_made_on_an_exception_is_resumed(make_trainer, tmp_path):
    class Failing(RecordingModule):
        def on_train_batch_start(self, batch, batch_idx):
            if self.trainer.global_step == 7:
                raise KeyError("power cut")

    saving = OnExceptionCheckpoint(tmp_path)
    warns = pytest.warns(UserWarning, match="no last checkpoint available|The last model of the previous")
    with pytest.raises(KeyError, match="power cut"), warns:
        start(make_trainer, [*tricks(), saving], module=Failing(configure), enable_checkpointing=True)
    whole = start(make_trainer, tricks())
    # The batch that was being processed is lost; the learning rates go on where they were.
    assert start(make_trainer, tricks(), tmp_path / "on_exception.ckpt").used == whole.used[7:19]


# Second fits


def test_the_same_tricks_in_a_second_trainer_start_anew(make_trainer):
    lengths = tricks()
    assert start(make_trainer, lengths).used == start(make_trainer, lengths).used


def test_the_same_tricks_in_a_second_trainer_of_another_length(make_trainer):
    lengths = [GradualWarmup(epochs=1), CosineDecay()]
    start(make_trainer, lengths, max_epochs=2)
    used = start(make_trainer, lengths, data=loader(3), max_epochs=3, module=RecordingModule()).used
    assert used == start(make_trainer, [GradualWarmup(steps=3), CosineDecay()], data=loader(3), max_epochs=3,
                         module=RecordingModule()).used  # fmt: skip


def test_a_second_fit_with_the_same_trainer_goes_on(make_trainer):
    whole = start(make_trainer, [CosineDecay(total_steps=20)], module=RecordingModule())
    module = start(make_trainer, [CosineDecay(total_steps=20)], module=RecordingModule(), max_epochs=1)
    first = module.used
    trainer = module.trainer
    trainer.fit_loop.max_epochs = EPOCHS
    trainer.fit(module, stateful_loader())
    assert first + module.used == whole.used


def test_a_second_fit_of_two_optimizers_goes_on_at_their_own_counts(make_trainer):
    module = ManualModule(two_optimizers, steps=(2, 1))
    module = start(make_trainer, [PolynomialDecay(total_steps=20)], module=module, max_epochs=1)
    module.trainer.fit_loop.max_epochs = 2
    module.trainer.fit(module, stateful_loader())
    assert [rates[0] for rates in used_by_each(module)] == pytest.approx([0.1 * 10 / 20, 0.01 * 15 / 20], abs=1e-12)


def test_counts_that_are_loaded_in_the_middle_of_a_run(make_trainer, tmp_path):
    """By whoever sets a run back after it has diverged."""
    path = tmp_path / "first.ckpt"

    class SetBack(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                decay.on_load_checkpoint(trainer, pl_module, torch.load(path, weights_only=True))

    decay = CosineDecay(total_steps=20)
    saving = Saving("on_train_epoch_end", path, 1)
    used = start(make_trainer, [decay, saving, SetBack()], module=RecordingModule()).used
    whole = start(make_trainer, [CosineDecay(total_steps=20)], module=RecordingModule()).used
    assert used == whole[:10] + whole[5:15]


def test_validation_and_test_are_untouched(make_trainer):
    class Validated(RecordingModule):
        def validation_step(self, batch, batch_idx):
            pass

        test_step = validation_step

    trainer = make_trainer(callbacks=tricks())
    trainer.validate(Validated(), loader())
    trainer.test(Validated(), loader())
    assert len(trainer.callbacks) == len(make_trainer(callbacks=tricks()).callbacks)
