# %% [markdown]
# # Learning-rate schedules
#
# Each of these tricks is a factor, a pure function of the optimizer's step; their product multiplies whatever learning
# rate the module and its own scheduler have set. `plot_lr` draws it without a training.

# %%
# %matplotlib inline
import logging
import warnings

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from matplotlib.figure import Figure

from lightning_tricks import (
    ConstantWarmup,
    CosineDecay,
    GradualWarmup,
    LinearScaling,
    PolynomialDecay,
    StepDecay,
    plot_lr,
)
from lightning_tricks.data import DigitsDataModule
from lightning_tricks.models import Classifier

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="lightning.pytorch")  # advice about workers and logging intervals
RUN = {"lr": 0.1, "steps_per_epoch": 50, "epochs": 30}

# %% [markdown]
# **Gradual warm-up and cosine decay**: the i-th batch of the warm-up gets i/T of the rate, and the cosine begins where
# the warm-up ends, without a jump.

# %%
plot_lr([GradualWarmup(epochs=5), CosineDecay()], **RUN)

# %% [markdown]
# **Constant warm-up and steps**: the steps count from the start of the run, as everyone writes them.

# %%
plot_lr([ConstantWarmup(factor=0.1, epochs=2), StepDecay(milestones=[15, 25])], **RUN)

# %% [markdown]
# **Linear scaling**: the rate is that of a batch of 256; four times the batch has four times the rate, which a ramp
# from the single rate reaches.

# %%
plot_lr([LinearScaling(batch_size=1024), GradualWarmup(epochs=5, start_factor=0.25), PolynomialDecay(power=1.0)], **RUN)

# %% [markdown]
# ## What a run really uses
#
# The module below has a scheduler of its own, which halves the rate after each second epoch. `LearningRateMonitor`
# logs the rate in use: the product of the two.


# %%
class Halving(Classifier):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)]


class Kept(pl.loggers.logger.DummyLogger):
    """Keeps the learning rates that are logged."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def log_metrics(self, metrics, step=None):
        self.rates += [rate for name, rate in metrics.items() if name.startswith("lr")]


logger = Kept()
trainer = pl.Trainer(
    max_epochs=6,
    callbacks=[GradualWarmup(epochs=2), LearningRateMonitor(logging_interval="step")],
    logger=logger,
    log_every_n_steps=1,
    accelerator="cpu",
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Halving(lr=0.1), datamodule=DigitsDataModule(batch_size=128))

figure = Figure(figsize=(7, 3), layout="constrained")
axes = figure.subplots()
axes.plot(logger.rates, drawstyle="steps-post", color="black")
axes.set(xlabel="step", ylabel="logged learning rate", ylim=(0, None))
axes.grid(alpha=0.3)
figure
