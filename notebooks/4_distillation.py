# %% [markdown]
# # Distillation
#
# A small student learns from the labels and from the softened predictions of a larger teacher. As a callback,
# `Distillation(teacher)` does it without a change to the student's module; the teacher is frozen, in eval mode, sees
# the very batch that the student sees, and is neither in `parameters()` nor in the checkpoint.

# %%
# %matplotlib inline
import logging
import warnings

import lightning.pytorch as pl
import torch
from matplotlib.figure import Figure

from lightning_tricks import Distillation, Mixup
from lightning_tricks.data import DigitsDataModule
from lightning_tricks.models import Classifier

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="lightning.pytorch")  # advice about workers and logging intervals


def train(module, *, epochs, callbacks=()):
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    digits = DigitsDataModule(batch_size=64)
    trainer.fit(module, datamodule=digits)
    return trainer.validate(module, datamodule=digits, verbose=False)[0]["val_acc"]


def student():
    torch.manual_seed(1)
    module = Classifier(lr=0.05)
    module.net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 12), torch.nn.ReLU(), torch.nn.Linear(12, 10)
    )
    return module


# %% [markdown]
# The teacher, a small convolutional net, trained on the training part alone:

# %%
torch.manual_seed(0)
teacher = Classifier(lr=0.05)
print(f"teacher: {train(teacher, epochs=8):.3f}")

# %% [markdown]
# The student, a net of twelve hidden units, alone and taught; one run of each is a demonstration, not evidence.

# %%
print(f"student alone:  {train(student(), epochs=8):.3f}")
taught = student()
print(f"student taught: {train(taught, epochs=8, callbacks=[Distillation(teacher.net, temperature=4.0)]):.3f}")

# %% [markdown]
# What the teacher tells beyond the label: its predictions for the four images of which it is least sure. Divided by the
# temperature T, the logits also show the digits that an image resembles a little.

# %%
digits = DigitsDataModule()
digits.setup("fit")
images, labels = next(iter(digits.val_dataloader()))
with torch.no_grad():
    logits = teacher.net.eval()(images)
hardest = (logits / 4).softmax(1).max(1).values.argsort()[:4]

figure = Figure(figsize=(8, 4.4), layout="constrained")
above, below = figure.subplots(2, 4, height_ratios=(1, 1.2))
for column, i in enumerate(hardest):
    above[column].imshow(images[i, 0], cmap="gray")
    above[column].set_title(f"label {labels[i].item()}", fontsize=10)
    above[column].axis("off")
    for temperature, style in ((1.0, "o"), (4.0, "s")):
        below[column].plot((logits[i] / temperature).softmax(0), style, label=f"T = {temperature:g}", markersize=4)
    below[column].set(xticks=range(0, 10, 3), ylim=(0, 1.05), xlabel="class")
below[0].set_ylabel("probability")
below[0].legend(frameon=False, fontsize=8)
figure

# %% [markdown]
# It composes with the mixing tricks: the teacher sees the mixed images, and the labels' part of the loss is the soft
# one.

# %%
both = [Mixup(alpha=0.2), Distillation(teacher.net)]
print(f"student taught on mixed images: {train(student(), epochs=8, callbacks=both):.3f}")
