"""Faults: a kill at any step, an exception in any hook, NaN batches, a rank that dies."""

import random

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from lightning_tricks import CosineDecay, GradualWarmup, Mixup, SoftTarget
from tests.plain import PlainModule, image_loader
from tests.registry import BATCH_TRICKS, TRICKS
from tests.scripts import run_script

SIZE, EPOCHS, BATCHES = (16, 12), 2, 5


class Module(PlainModule):
    """With a scheduler of its own; ``fails`` names the hook that raises, ``at`` the step from which on it does."""

    fails, at = "", 0

    def __init__(self):
        super().__init__(size=SIZE)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), "interval": "step"}]


class Boom(RuntimeError):
    pass


def failing(hook, at=0):
    """A module that raises in one of its hooks, before it does anything there."""

    def fail(self, *args, **kwargs):
        if self.trainer.global_step >= at:
            raise Boom(hook)
        return getattr(super(kind, self), hook)(*args, **kwargs)

    kind = type("Failing", (Module,), {hook: fail})
    return kind()


def loader(**kwargs):
    return StatefulDataLoader(image_loader(n=8 * BATCHES, size=SIZE).dataset, batch_size=8, **kwargs)


def run(make_trainer, tricks, module=None, callbacks=(), ckpt_path=None, seed=0, **kwargs):
    torch.manual_seed(seed)
    module = Module() if module is None else module
    trainer = make_trainer(callbacks=[*tricks, *callbacks], max_epochs=EPOCHS, **kwargs)
    trainer.fit(module, loader(), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def weights_of(trainer):
    return [parameter.detach().clone() for parameter in trainer.lightning_module.parameters()]


@pytest.mark.parametrize("name", TRICKS)
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used")
def test_a_run_that_dies_at_a_random_step_and_is_resumed(make_trainer, tmp_path, name):
    """Not at an epoch's last batch, from whose checkpoints Lightning itself resumes an epoch too late."""

    def make():
        return [TRICKS[name]()]

    whole = run(make_trainer, make())
    for at in random.Random(name).sample([1, 2, 3, 4, 6, 7, 8, 9], 2):
        checkpoint = ModelCheckpoint(tmp_path / str(at), every_n_train_steps=at)
        torch.manual_seed(0)
        with pytest.raises(Boom):
            run(make_trainer, make(), failing("backward", at=at), [checkpoint], enable_checkpointing=True)
        resumed = run(make_trainer, make(), ckpt_path=checkpoint.best_model_path, seed=1)
        assert resumed.global_step == EPOCHS * BATCHES
        for new, old in zip(weights_of(resumed), weights_of(whole), strict=True):
            assert torch.equal(new, old), f"killed at step {at}"


HOOKS = [
    "setup",
    "configure_optimizers",
    "on_fit_start",
    "on_train_start",
    "on_train_epoch_start",
    "on_before_batch_transfer",
    "on_train_batch_start",
    "training_step",
    "on_before_zero_grad",
    "on_before_backward",
    "backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "optimizer_step",
    "lr_scheduler_step",
    "on_train_batch_end",
    "validation_step",
    "on_validation_epoch_end",
    "on_train_epoch_end",
    "on_save_checkpoint",
    "on_train_end",
    "on_fit_end",
    "teardown",
]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no `validation_step`")
def test_an_exception_in_any_hook_leaves_everything_as_it_was(make_trainer, tmp_path, hook):
    module = failing(hook)
    if hook == "on_validation_epoch_end":
        module.validation_step = lambda batch, batch_idx: None
    monitor = pl.callbacks.LearningRateMonitor()
    callbacks = [Mixup(), GradualWarmup(steps=3, hold_scheduler=True), CosineDecay(), monitor]
    logger = pl.loggers.CSVLogger(tmp_path)
    checkpointing = {"enable_checkpointing": hook == "on_save_checkpoint"}
    trainer = make_trainer(
        callbacks=callbacks, num_sanity_val_steps=0, logger=logger, log_every_n_steps=1, **checkpointing
    )
    before = list(trainer.callbacks)
    validation = image_loader(n=8, size=SIZE) if "validation" in hook else None
    with pytest.raises(Boom, match=hook):
        trainer.fit(module, loader(), validation)
    assert not {"training_step", "lr_scheduler_step"} & set(vars(module))
    assert trainer.callbacks == before
    for optimizer, config in zip(trainer.optimizers, trainer.lr_scheduler_configs, strict=True):
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        assert optimizer.param_groups[0]["lr"] == config.scheduler.get_last_lr()[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("make", BATCH_TRICKS.values(), ids=BATCH_TRICKS.keys())
def test_values_that_are_not_finite_pass_unhidden(make, value):
    """Each image is NaN all over, so what a trick does not erase stays NaN, and no label changes for it."""
    images, labels = torch.full((4, 3, *SIZE), value), torch.arange(4)
    clean = torch.zeros_like(images)
    new_images, target = make()((images, labels), rng=0)
    new_clean, clean_target = make()((clean, labels), rng=0)
    erased = (new_images == 0) | (torch.isfinite(new_images) & (new_clean != 0))
    assert (~torch.isfinite(new_images) | erased).all()
    assert (~torch.isfinite(new_images)).float().mean() > 0.3
    if isinstance(target, SoftTarget):
        assert torch.equal(target.probabilities(4), clean_target.probabilities(4))


def test_a_nan_loss_is_the_users_to_see(make_trainer):
    images = torch.full((8, 3, *SIZE), float("nan"))
    module = Module()
    loader = DataLoader(TensorDataset(images, torch.arange(8) % 5), batch_size=4)
    make_trainer(callbacks=[Mixup(), GradualWarmup(steps=2)]).fit(module, loader)
    assert all(parameter.isnan().all() for parameter in module.parameters())


RESUMED_IN_TWO = """
    import os, sys
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint
    from tests.test_compositions import every_trick
    from tests.test_faults import Module, loader

    def fit(seed, callbacks, ckpt_path=None):
        torch.manual_seed(10 * seed + int(os.environ.get("LOCAL_RANK", 0)))  # ranks that nobody has seeded alike
        trainer = pl.Trainer(
            accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False, enable_progress_bar=False,
            enable_model_summary=False, use_distributed_sampler=False, callbacks=[*every_trick(), *callbacks],
        )
        trainer.fit(Module(), loader(), ckpt_path=ckpt_path, weights_only=True)
        return [parameter.detach().clone() for parameter in trainer.lightning_module.parameters()]

    if __name__ == "__main__":
        checkpoint = ModelCheckpoint(sys.argv[1], "{step}", every_n_train_steps=1, save_top_k=-1)
        whole = fit(0, [checkpoint])
        for step in (3, 7):
            resumed = fit(1, [], f"{sys.argv[1]}/step={step}.ckpt")
            assert all(torch.equal(new, old) for new, old in zip(resumed, whole, strict=True)), step
        print("the same", flush=True)
"""


@pytest.mark.slow
def test_two_processes_resume_bit_for_bit(tmp_path):
    result = run_script(RESUMED_IN_TWO, tmp_path, tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("the same") == 2


DYING_RANK = """
    import os
    import lightning.pytorch as pl
    from lightning_tricks import ConstantWarmup, CosineDecay, Mixup
    from tests.plain import image_loader
    from tests.test_faults import SIZE, Module

    class Dies(Module):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.global_rank == 1 and batch_idx == 1:
                open("died", "w").close()
                os._exit(3)

    if __name__ == "__main__":
        tricks = [Mixup(), ConstantWarmup(steps=9, monitor="train_acc", threshold=2.0, mode="max"), CosineDecay()]
        pl.Trainer(
            accelerator="cpu", devices=2, strategy="ddp", max_epochs=9,
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=tricks,
        ).fit(Dies(), image_loader(n=64, size=SIZE))
"""


@pytest.mark.slow
def test_a_rank_that_dies_does_not_hang_the_other(tmp_path):
    """Rank 0 learns of it by the closed connection, long before the process group's own time limit."""
    result = run_script(DYING_RANK, tmp_path)
    assert (tmp_path / "died").exists()
    assert result.returncode != 0
