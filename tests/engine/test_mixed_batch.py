"""mixed_batch: the batch of ``training_step`` for hooks that Lightning gives the loader's one."""

import gc
import weakref

import lightning.pytorch as pl
import pytest

from lightning_tricks import CutMix, GradualWarmup, LabelSmoothing, Mixup, SoftTarget, mixed_batch
from tests.plain import PlainModule, image_loader

HOOKS = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
OUTSIDE = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_validation_start",
    "on_validation_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
)


class Module(PlainModule):
    """Keeps the batch of each training step, and what ``mixed_batch`` gives in the step and its last hook."""

    def __init__(self):
        super().__init__()
        self.seen, self.in_step, self.in_hook, self.given = [], [], [], []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch)
        self.in_step.append(mixed_batch(self.trainer))
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.given.append(batch)
        self.in_hook.append(mixed_batch(self.trainer))

    def validation_step(self, batch, batch_idx):
        assert mixed_batch(self.trainer) is None


class Asking(pl.Callback):
    def __init__(self):
        self.got = {}


def _hook(name):
    def hook(self, trainer, *args):
        self.got.setdefault(name, []).append(mixed_batch(trainer))

    return hook


for _name in (*HOOKS, *OUTSIDE):
    setattr(Asking, _name, _hook(_name))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_hooks_of_a_training_step_get_its_batch_and_others_none(make_trainer, place):
    asking, module = Asking(), Module()
    callbacks = [Mixup(alpha=1.0), LabelSmoothing()]
    callbacks.insert(place, asking)
    trainer = make_trainer(callbacks=callbacks, max_epochs=2, val_check_interval=2)
    trainer.fit(module, image_loader(), image_loader(n=8))
    assert len(module.seen) == 8
    assert [id(batch) for batch in module.in_step] == [id(batch) for batch in module.seen]
    assert [id(batch) for batch in module.in_hook] == [id(batch) for batch in module.seen]
    for name in HOOKS:
        assert [id(batch) for batch in asking.got[name]] == [id(batch) for batch in module.seen], name
    for name in OUTSIDE:
        assert set(map(type, asking.got[name])) == {type(None)}, name
    assert all(isinstance(mixed[1], SoftTarget) for mixed in module.seen)
    assert not any(isinstance(given[1], SoftTarget) for given in module.given)
    assert mixed_batch(trainer) is None
    assert "on_train_batch_end" not in vars(module)


def test_nothing_is_kept_after_the_step(make_trainer):
    class Weak(pl.Callback):
        def __init__(self):
            self.images = []

        def on_train_batch_end(self, trainer, *args):
            self.images.append(weakref.ref(mixed_batch(trainer)[0]))

        def on_train_batch_start(self, *args):
            gc.collect()
            assert all(reference() is None for reference in self.images)

        on_train_epoch_end = on_train_batch_start

    weak = Weak()
    make_trainer(callbacks=[weak, CutMix()]).fit(PlainModule(), image_loader(n=16))
    assert len(weak.images) == 2


def test_none_without_a_batch_trick(make_trainer):
    asking = Asking()
    make_trainer(callbacks=[asking, GradualWarmup(steps=2)]).fit(PlainModule(), image_loader())
    assert all(batch is None for batches in asking.got.values() for batch in batches)


def test_an_error_in_the_last_hook_leaves_nothing_behind(make_trainer):
    class Failing(PlainModule):
        def on_train_batch_end(self, *args):
            raise KeyError("mine")

    module = Failing()
    trainer = make_trainer(callbacks=[Mixup()])
    with pytest.raises(KeyError, match="mine"):
        trainer.fit(module, image_loader())
    assert mixed_batch(trainer) is None
    assert not {"training_step", "on_train_batch_end"} & set(vars(module))
