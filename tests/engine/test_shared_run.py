"""One callback object in two Trainers: one after the other it serves both, one inside the other only the outer."""

import copy

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import CosineDecay, CutMix, GradualWarmup, Mixup
from tests.lr_recording import RecordingSGD
from tests.plain import PlainModule, image_loader

EPOCHS, BATCHES = 3, 4
pytestmark = pytest.mark.filterwarnings("ignore:.* stand in one callback list")


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
