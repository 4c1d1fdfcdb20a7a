"""One callback object in two Trainers: one after the other it serves both, one inside the other only the outer."""

import copy

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import ConstantWarmup, CosineDecay, CutMix, GradualWarmup, Mixup
from tests.lr_recording import RecordingSGD
from tests.plain import PlainModule, image_loader

EPOCHS, BATCHES = 3, 4
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* stand in one callback list"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
    pytest.mark.filterwarnings("ignore:The learning rate jumps where the run resumes"),  # a longer second fit
]


class Recording(PlainModule):
    """Keeps the images that its training step receives and the learning rates that its optimizer uses."""

    def __init__(self):
        super().__init__()
        self.images = []

    def training_step(self, batch, batch_idx):
        self.images.append(batch[0])
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self):
        self.optimizer = RecordingSGD(self.parameters(), lr=self.lr)
        return self.optimizer


def make_tricks():
    return [Mixup(alpha=1.0), CutMix(), GradualWarmup(steps=3), CosineDecay()]


def fit(make_trainer, tricks, callbacks=()):
    torch.manual_seed(0)
    module = Recording()
    make_trainer(callbacks=[*tricks, *callbacks], max_epochs=EPOCHS).fit(module, image_loader())
    assert len(module.images) == EPOCHS * BATCHES
    return module


class Inside(pl.Callback):
    """Runs something of its own after the first epoch."""

    def __init__(self, run):
        self.run = run

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            self.run()


def check_undisturbed(make_trainer, tricks, run):
    """The outer run is what it is with nothing inside."""
    plain, module = fit(make_trainer, make_tricks()), fit(make_trainer, tricks, [Inside(run)])
    assert module.optimizer.used == plain.optimizer.used
    assert all(torch.equal(images, others) for images, others in zip(module.images, plain.images, strict=True))


def fit_inside(make_trainer, tricks):
    make_trainer(callbacks=tricks, max_epochs=1).fit(PlainModule(), image_loader())


@pytest.mark.parametrize("index", [0, 2, 3], ids=["Mixup", "GradualWarmup", "CosineDecay"])
def test_a_fit_inside_a_fit_is_refused_and_leaves_the_outer_as_it_was(make_trainer, index):
    tricks = make_tricks()

    def run():
        with pytest.raises(MisconfigurationException, match=f"{type(tricks[index]).__name__} needs a Trainer of its"):
            fit_inside(make_trainer, [tricks[index]])

    check_undisturbed(make_trainer, tricks, run)


def test_a_copy_serves_a_fit_inside_a_fit(make_trainer):
    tricks = make_tricks()
    check_undisturbed(make_trainer, tricks, lambda: fit_inside(make_trainer, copy.deepcopy(tricks)))


def test_a_validation_inside_a_fit_does_not_end_it(make_trainer):
    class Validated(PlainModule):
        def validation_step(self, batch, batch_idx):
            pass

    tricks = make_tricks()
    check_undisturbed(
        make_trainer,
        tricks,
        lambda: make_trainer(callbacks=tricks).validate(Validated(), image_loader(), verbose=False),
    )


def test_a_checkpoint_holds_the_seed_of_its_own_run(make_trainer, tmp_path):
    """The trick that led an earlier run stands second in this one."""
    mixup, cutmix = Mixup(), CutMix()
    torch.manual_seed(1)
    make_trainer(callbacks=[mixup]).fit(PlainModule(), image_loader())
    torch.manual_seed(2)
    trainer = make_trainer(callbacks=[cutmix, mixup])
    trainer.fit(PlainModule(), image_loader())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    assert torch.load(tmp_path / "end.ckpt", weights_only=True)["lightning_tricks"]["batch"] == {"seed": 2}


class Crossed(ConstantWarmup):
    """Says that it has ended early, as a monitored warm-up does."""

    def before_step(self, trainer, count):
        if count == 2:
            self.early_end = 2


def entry_of(trainer, tmp_path):
    trainer.save_checkpoint(tmp_path / "any.ckpt")
    return torch.load(tmp_path / "any.ckpt", weights_only=True).get("lightning_tricks")


class Validated(PlainModule):
    def validation_step(self, batch, batch_idx):
        pass


def fit_with_seed(trainer, seed, module=None, **kwargs):
    torch.manual_seed(seed)
    trainer.fit(module or Validated(), image_loader(), **kwargs)
    return trainer


class Broken(pl.Callback):
    def setup(self, trainer, pl_module, stage):
        if stage == "fit":
            raise RuntimeError("broken setup")


def a_validation(trainer):
    trainer.validate(Validated(), image_loader(), verbose=False)


def a_failed_fit(trainer):
    trainer.callbacks.insert(0, Broken())
    with pytest.raises(RuntimeError, match="broken setup"):
        trainer.fit(Validated(), image_loader())


@pytest.mark.parametrize("copied", [False, True], ids=["the same", "a copy"])
@pytest.mark.parametrize("use", [a_validation, a_failed_fit])
def test_a_trainer_without_a_run_saves_nothing_of_another_run(use, copied, make_trainer, tmp_path):
    tricks = [Mixup(), GradualWarmup(steps=3)]
    fit_with_seed(make_trainer(callbacks=tricks), 1)
    other = make_trainer(callbacks=copy.deepcopy(tricks) if copied else tricks)
    use(other)
    assert entry_of(other, tmp_path) is None


@pytest.mark.parametrize("second", [(0, 1), (1,), (0,)], ids=["both", "the second", "the first"])
def test_each_trainer_saves_its_own_run_and_goes_on_with_it(second, make_trainer, tmp_path):
    tricks = [Mixup(), CutMix(), Crossed(epochs=1), CosineDecay()]
    first = fit_with_seed(make_trainer(callbacks=tricks, max_epochs=2), 1)
    alone = entry_of(first, tmp_path)
    assert alone["batch"] == {"seed": 1}
    assert (alone["lr"]["steps"], alone["lr"]["early_ends"]["Crossed 0"]) == ([2 * BATCHES], 2)
    chosen = [trick for index in second for trick in (tricks[index], tricks[index + 2])]
    other = fit_with_seed(make_trainer(callbacks=chosen, max_epochs=1), 2)
    assert entry_of(first, tmp_path) == alone
    theirs = entry_of(other, tmp_path)
    assert (theirs["batch"], theirs["lr"]["steps"]) == ({"seed": 2}, [BATCHES])
    first.fit_loop.max_epochs = 3
    fit_with_seed(first, 3, first.lightning_module)
    assert entry_of(first, tmp_path)["batch"] == {"seed": 1}
    assert entry_of(first, tmp_path)["lr"]["steps"] == [3 * BATCHES]
    assert entry_of(other, tmp_path) == theirs


def test_a_run_resumed_after_another_takes_the_seed_of_its_checkpoint(make_trainer, tmp_path):
    tricks = make_tricks()
    fit_with_seed(make_trainer(callbacks=tricks, max_epochs=1), 1).save_checkpoint(tmp_path / "first.ckpt")
    fit_with_seed(make_trainer(callbacks=tricks), 2)
    resumed = make_trainer(callbacks=tricks, max_epochs=2)
    fit_with_seed(resumed, 3, ckpt_path=tmp_path / "first.ckpt", weights_only=True)
    entry = entry_of(resumed, tmp_path)
    assert (entry["batch"], entry["lr"]["steps"]) == ({"seed": 1}, [2 * BATCHES])


class InsideABatch(pl.Callback):
    """Runs something of its own between the tricks and the training step of one batch."""

    def __init__(self, run):
        self.run = run

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (1, 1):
            self.run()


def test_a_validation_of_a_checkpoint_inside_a_batch_changes_nothing(make_trainer, tmp_path):
    other = make_trainer(callbacks=make_tricks(), max_epochs=1)
    fit_with_seed(other, 5).save_checkpoint(tmp_path / "other.ckpt")
    tricks = make_tricks()

    def validate():
        trainer = make_trainer(callbacks=tricks)
        trainer.validate(
            Validated(), image_loader(), ckpt_path=tmp_path / "other.ckpt", weights_only=True, verbose=False
        )
        assert entry_of(trainer, tmp_path) is None

    plain, module = fit(make_trainer, make_tricks()), fit(make_trainer, tricks, [InsideABatch(validate)])
    assert module.optimizer.used == plain.optimizer.used
    assert all(torch.equal(images, others) for images, others in zip(module.images, plain.images, strict=True))


def test_a_validation_of_an_older_checkpoint_leaves_the_counts(make_trainer, tmp_path):
    trainer = make_trainer(callbacks=make_tricks(), max_epochs=1)
    fit_with_seed(trainer, 1).save_checkpoint(tmp_path / "old.ckpt")
    trainer.fit_loop.max_epochs = 2
    fit_with_seed(trainer, 1, trainer.lightning_module)
    before = entry_of(trainer, tmp_path)
    trainer.validate(Validated(), image_loader(), ckpt_path=tmp_path / "old.ckpt", weights_only=True, verbose=False)
    assert entry_of(trainer, tmp_path) == before
    assert before["lr"]["steps"] == [2 * BATCHES]
