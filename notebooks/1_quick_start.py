# %% [markdown]
# # Quick start
#
# A trick is one line in `Trainer(callbacks=[...])`; the LightningModule stays as it is. Here a small net learns 1,797
# real digits, 8 × 8 pixels each, that ship with scikit-learn: nothing is downloaded, and a laptop needs seconds.

# %%
# %matplotlib inline
import logging
import warnings

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import nn

from lightning_tricks import CosineDecay, CutMix, GradualWarmup, Mixup, RandomChoice, plot_lr, preview
from lightning_tricks.data import DigitsDataModule

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="lightning.pytorch")  # advice about workers and logging intervals

# %% [markdown]
# A module as you would write it anyway. It knows nothing of soft labels, and of no schedule.


# %%
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 10))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self.net(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def train(callbacks):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, digits = Net(), DigitsDataModule()
        trainer = pl.Trainer(
            max_epochs=6,
            callbacks=callbacks,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(net, datamodule=digits)
        return trainer.validate(net, datamodule=digits, verbose=False)[0]["val_acc"]


# %% [markdown]
# Without tricks, and with one of Mixup and CutMix for each batch, a warm-up and a cosine decay:

# %%
tricks = [RandomChoice([Mixup(), CutMix()]), GradualWarmup(epochs=0.5), CosineDecay()]
print(f"without tricks: {train([]):.3f}")
print(f"with tricks:    {train(tricks):.3f}")

# %% [markdown]
# One run of each says nothing about which is better: the last notebook shows how to ask that. What the tricks do to a
# batch, with the weight of each label under the image:

# %%
digits = DigitsDataModule()
digits.setup("fit")
batch = next(iter(digits.train_dataloader()))
preview([Mixup(alpha=1.0), CutMix()], batch, rng=30, max_images=5, mean=digits.mean.tolist(), std=digits.std.tolist())

# %% [markdown]
# And what they do to the learning rate:

# %%
plot_lr(tricks, lr=0.05, steps_per_epoch=len(digits.train_dataloader()), epochs=6)

# %% [markdown]
# Inside `training_step`, `y` is a `SoftTarget`: integer labels that remember the soft label they stand for.

# %%
images, labels = Mixup(alpha=1.0)(batch, rng=1)
print(type(labels).__name__, labels[:5].tolist())
for classes, weights in labels[:5].components:
    print(classes.tolist(), [round(weight, 2) for weight in weights.tolist()])

# %% [markdown]
# Its cross-entropy is exact, and what would be wrong in silence is refused:

# %%
try:
    F.one_hot(labels, 10)
except RuntimeError as error:
    print(f"{type(error).__name__}: {error}")
