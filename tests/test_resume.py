"""A run that was stopped and resumed ends bit for bit as the one that was not, all tricks included."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torchdata.stateful_dataloader import StatefulDataLoader

from lightning_tricks import CosineDecay, CutMix, GradualWarmup, Mixup
from tests.lr_recording import recording
from tests.plain import PlainModule, image_loader

pytestmark = [
    pytest.mark.filterwarnings("ignore:.* stand in one callback list"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used"),  # the checkpoint's own
]

EPOCHS, BATCHES = 3, 5


class Recording(PlainModule):
    def configure_optimizers(self):
        self.optimizer = recording(torch.optim.SGD)(self.parameters(), lr=self.lr, momentum=0.9)
        return [self.optimizer], [torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.7)]


def run(make_trainer, callbacks=(), ckpt_path=None, seed=0, decay=None, shuffle=True, **kwargs):
    torch.manual_seed(seed)
    module = Recording()
    data = image_loader(n=8 * BATCHES).dataset
    loader = StatefulDataLoader(data, batch_size=8, shuffle=shuffle)
    tricks = [Mixup(alpha=1.0, per_sample=True), CutMix(p=0.5), GradualWarmup(steps=7), decay or CosineDecay()]
    trainer = make_trainer(callbacks=[*tricks, *callbacks], **({"max_epochs": EPOCHS} | kwargs))
    trainer.fit(module, loader, ckpt_path=ckpt_path, weights_only=True)
    return trainer, module


class Kill(Callback):
    """Raises in the middle of a batch, after the checkpoint was written."""

    def __init__(self, hook, step):
        self.step = step
        setattr(self, hook, self._maybe)

    def _maybe(self, trainer, *args, **kwargs):
        if trainer.global_step >= self.step:
            raise KeyboardInterrupt


def compare(resumed, whole):
    for name, weights in whole.state_dict().items():
        if not name.startswith("accuracy"):
            assert torch.equal(resumed.state_dict()[name], weights), name
    assert resumed.optimizer.used == whole.optimizer.used[-len(resumed.optimizer.used) :]


@pytest.mark.parametrize("every", [1, 2, 3, 4, 6, 7, 8, 9])
def test_stopped_by_an_exception_at_any_step(make_trainer, tmp_path, every):
    """The checkpoint is of step ``every``, the run dies in the step after; the new process has another seed.

    The steps that end an epoch are left out: Lightning itself, with no trick in the list, loses an epoch when it
    resumes from a checkpoint that was written at the last batch of one.
    """
    checkpoint = ModelCheckpoint(tmp_path, "last", every_n_train_steps=every)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(make_trainer, [checkpoint, Kill("on_before_zero_grad", every)], enable_checkpointing=True)
    trainer, resumed = run(make_trainer, ckpt_path=checkpoint.best_model_path, seed=99)
    assert len(resumed.optimizer.used) == EPOCHS * BATCHES - every
    assert trainer.global_step == EPOCHS * BATCHES
    compare(resumed, run(make_trainer)[1])


def test_resumed_from_the_end_of_an_epoch(make_trainer, tmp_path):
    """In a fixed order: a shuffling sampler draws each epoch's order from a generator that no checkpoint holds."""
    whole = run(make_trainer, shuffle=False)[1]
    checkpoint = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    run(make_trainer, [checkpoint], shuffle=False, enable_checkpointing=True)
    for epoch in range(EPOCHS - 1):
        _, resumed = run(make_trainer, ckpt_path=tmp_path / f"epoch={epoch}.ckpt", seed=99, shuffle=False)
        assert len(resumed.optimizer.used) == BATCHES * (EPOCHS - 1 - epoch)
        compare(resumed, whole)


@pytest.mark.parametrize("steps", [3, 5, 8])
@pytest.mark.filterwarnings("ignore:GradualWarmup lasts 7 optimizer steps, but the run only")
def test_stopped_by_max_steps(make_trainer, tmp_path, steps):
    """The decay's length is the run's, so both runs are told the same one."""
    decay = CosineDecay(total_steps=12)
    arguments = {"decay": decay, "max_epochs": -1}
    checkpoint = ModelCheckpoint(tmp_path, every_n_train_steps=steps)
    run(make_trainer, [checkpoint], enable_checkpointing=True, max_steps=steps, **arguments)
    trainer, resumed = run(make_trainer, ckpt_path=checkpoint.best_model_path, seed=99, max_steps=12, **arguments)
    assert trainer.global_step == 12
    assert len(resumed.optimizer.used) == 12 - steps
    compare(resumed, run(make_trainer, max_steps=12, **arguments)[1])
