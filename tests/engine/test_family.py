"""A family of callbacks of the user's own, and what every callback of a family gets from the base."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import CosineDecay, CutMix, Distillation, GradualWarmup, Mixup, RandomChoice, SoftTarget
from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.engine.shared_run import Run, SharedRun
from tests.plain import PlainModule, image_loader

BATCHES = 4


class WeightsRun(Run):
    """Counts the batches of the run and marks the module for as long as it is open."""

    made = 0

    def __init__(self, trainer, pl_module, family):
        super().__init__(trainer, family)
        type(self).made += 1
        self.module = pl_module
        pl_module.marked = True
        self.batches = 0

    def state(self):
        return {"batches": self.batches, "rates": [callback.rate for callback in self.family]}

    def load(self, state):
        self.batches = 0 if state is None else state["batches"]

    def on_train_batch_end(self, *args):
        self.batches += 1

    def close(self):
        del self.module.marked


class Weights(SharedRun):
    section = "weights"

    def __init__(self, rate=0.5):
        self.rate = rate

    def make_run(self, trainer, pl_module, family):
        return WeightsRun(trainer, pl_module, family)


class OtherWeights(Weights):
    pass


def fit(trainer, module=None, **kwargs):
    module = module or PlainModule()
    trainer.fit(module, image_loader(), weights_only=True, **kwargs)
    return module


def entry_of(trainer, path):
    trainer.save_checkpoint(path)
    return torch.load(path, weights_only=True)["lightning_tricks"]


def test_a_family_needs_nothing_but_make_run(make_trainer, tmp_path):
    WeightsRun.made = 0
    callbacks = [Weights(0.25), Mixup(), OtherWeights(), CosineDecay(total_steps=9)]
    trainer = make_trainer(callbacks=callbacks, max_epochs=2)
    module = fit(trainer)
    assert WeightsRun.made == 1
    assert not hasattr(module, "marked")
    entry = entry_of(trainer, tmp_path / "end.ckpt")
    assert set(entry) == {"weights", "batch", "lr"}
    assert entry["weights"] == {"batches": 2 * BATCHES, "rates": [0.25, 0.5]}
    resumed = make_trainer(callbacks=pickle.loads(pickle.dumps(callbacks)), max_epochs=3)
    fit(resumed, ckpt_path=tmp_path / "end.ckpt")
    assert entry_of(resumed, tmp_path / "more.ckpt")["weights"] == {"batches": 3 * BATCHES, "rates": [0.25, 0.5]}
    trainer.fit_loop.max_epochs = 3
    fit(trainer, module)
    assert entry_of(trainer, tmp_path / "again.ckpt")["weights"]["batches"] == 3 * BATCHES


class Failing(PlainModule):
    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            raise RuntimeError("boom")
        return super().training_step(batch, batch_idx)


def test_an_exception_closes_the_run_and_its_state_can_still_be_saved(make_trainer, tmp_path):
    module, trainer = Failing(), make_trainer(callbacks=[Weights()])
    with pytest.raises(RuntimeError, match="boom"):
        fit(trainer, module)
    assert not hasattr(module, "marked")
    assert Weights.run_of(trainer) is None
    assert entry_of(trainer, tmp_path / "end.ckpt")["weights"]["batches"] == 2


@pytest.mark.parametrize("broken", ["make_run", "load"])
def test_a_run_that_cannot_begin_leaves_nothing(make_trainer, monkeypatch, broken):
    def fail(*args):
        raise RuntimeError(f"broken {broken}")

    monkeypatch.setattr({"make_run": Weights, "load": WeightsRun}[broken], broken, fail)
    module, trainer = PlainModule(), make_trainer(callbacks=[Mixup(), Weights()])
    with pytest.raises(RuntimeError, match=f"broken {broken}"):
        fit(trainer, module)
    assert "training_step" not in vars(module)
    assert not hasattr(module, "marked")
    assert Weights.run_of(trainer) is None


class BrokenFactor(LRTrick):
    def factor(self, step):
        if step == 2:
            raise RuntimeError("no factor")
        return 0.5


def test_a_factor_that_raises_leaves_nothing_behind(make_trainer):
    """The state of the closed run needs the same factor: its error must not keep anything from being removed."""
    module, trainer = PlainModule(), make_trainer(callbacks=[BrokenFactor(), Mixup()])
    with pytest.raises(RuntimeError, match="no factor"):
        fit(trainer, module)
    (optimizer,) = trainer.optimizers
    assert optimizer.param_groups[0]["lr"] == module.lr
    assert not optimizer._optimizer_step_pre_hooks
    assert "training_step" not in vars(module)
    assert LRTrick.run_of(trainer) is None


@pytest.mark.parametrize(
    "make", [lambda: [Mixup()], lambda: [CosineDecay()], lambda: [GradualWarmup(steps=2)], lambda: [Weights()]]
)
def test_nothing_is_kept_alive_by_a_run_that_is_over(make_trainer, make):
    tricks = make()
    trainer = make_trainer(callbacks=tricks)
    references = [weakref.ref(fit(trainer)), weakref.ref(trainer), weakref.ref(tricks[0])]
    del tricks, trainer
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_a_foreign_callback_with_a_section_is_no_member(make_trainer):
    class Foreign(Run):
        section = "batch"

        def __init__(self):
            pass

    class Seen(PlainModule):
        def training_step(self, batch, batch_idx):
            labels.append(type(batch[1]))
            return super().training_step(batch, batch_idx)

    labels = []
    fit(make_trainer(callbacks=[Foreign(), Mixup()]), Seen())
    assert labels == [SoftTarget] * BATCHES


def test_callbacks_that_are_equal_are_two(make_trainer):
    class Equal(Weights):
        def __eq__(self, other):
            return isinstance(other, Equal)

        __hash__ = None

    WeightsRun.made = 0
    fit(make_trainer(callbacks=[Equal(), Equal()]))
    assert WeightsRun.made == 1


@pytest.mark.parametrize("make", [Mixup, CosineDecay, Weights])
def test_a_callback_that_stands_twice_is_refused(make_trainer, make):
    trick = make()
    name = type(trick).__name__
    with pytest.raises(MisconfigurationException, match=f"{name} needs a list in which .* {name}, {name} .*second one"):
        fit(make_trainer(callbacks=[trick, trick]))


class AllOn(Mixup):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class FirstByName(Mixup):
    def __init__(self, *, strength=1.0, **kwargs):
        super().__init__(strength, **kwargs)


class FirstOfChoice(RandomChoice):
    def __init__(self, p=0.5, **kwargs):
        super().__init__(**kwargs)


class Something:
    pass


class Mixed(Something, Mixup):
    pass


class Unchanged(Mixup):
    pass


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: AllOn(0.5, p=0.25), "AllOn(alpha=0.5, p=0.25)"),
        (lambda: FirstByName(strength=0.5, p=0.25), "FirstByName(strength=0.5, alpha=0.5, p=0.25)"),
        (lambda: FirstOfChoice(tricks=[Mixup()]), "FirstOfChoice(p=1.0, tricks=[Mixup(alpha=0.2)])"),
        (lambda: Mixed(0.5, p=0.25), "Mixed(alpha=0.5, p=0.25)"),
        (lambda: Unchanged(), "Unchanged(alpha=0.2)"),
        (lambda: Weights(), "Weights(rate=0.5)"),
        (lambda: Weights(rate=2), "Weights(rate=2)"),
        (
            lambda: Distillation(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 5)), temperature=2.0),
            "Distillation(teacher=Sequential(...), temperature=2.0)",
        ),
    ],
)
def test_a_subclass_may_pass_arguments_on_as_it_likes(make, text):
    trick = make()
    assert repr(trick) == text
    assert repr(copy.deepcopy(trick)) == repr(pickle.loads(pickle.dumps(trick))) == text


def test_a_copy_of_a_callback_copies_no_teacher():
    teacher = torch.nn.Linear(3, 5)
    trick = Distillation(teacher)
    memo = {}
    copy.deepcopy(trick, memo)
    assert id(teacher) not in memo


def test_later_changes_count():
    trick = CutMix(p=0.5)
    trick.p = 0.75
    assert repr(trick) == "CutMix(alpha=1.0, p=0.75)"
