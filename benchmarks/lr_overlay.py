"""Shows that the learning rate asked for, the one used and the one logged are the same, from runs.

``python -m benchmarks.lr_overlay`` prints the greatest differences and writes ``docs/images/lr_overlay.png``.
*Requested* is worked out here, by PyTorch's own scheduler in a loop without Lightning times the trick's formula; *used*
is read from inside the optimizer's step; *logged* is what a ``LearningRateMonitor`` sends to the logger.
"""

import math
import tempfile
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger
from matplotlib.figure import Figure
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from lightning_tricks import CosineDecay, GradualWarmup
from tests.lr_recording import RecordingModule, RecordingSGD, loader

IMAGES = Path(__file__).parent.parent / "docs" / "images"
LR, BATCHES, EPOCHS, WARMUP = 0.1, 10, 6, 15


class Memory(Logger):
    name, version = "memory", 0

    def __init__(self):
        super().__init__()
        self.rates = {}

    def log_metrics(self, metrics, step=None):
        for name, value in metrics.items():
            if name.startswith("lr-"):
                self.rates[step] = value

    def log_hyperparams(self, params):
        pass


class CrashAt(pl.Callback):
    """Writes a checkpoint in the middle of an epoch, and dies."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise RuntimeError("crash")


def fit(configure, tricks, *, module=None, accumulate=1, crash=None, ckpt_path=None):
    """Returns the learning rates that one fit used and those that were logged, per step."""
    memory, module = Memory(), module or RecordingModule(configure)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[*tricks, LearningRateMonitor("step"), *([crash] if crash else [])],
        logger=memory,
        log_every_n_steps=1,
        accumulate_grad_batches=accumulate,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = 0
    if ckpt_path is not None:
        start = torch.load(ckpt_path, weights_only=True)["global_step"]
    try:
        trainer.fit(module, loader(BATCHES), ckpt_path=ckpt_path, weights_only=True)
    except RuntimeError as error:
        if str(error) != "crash":
            raise
    return {start + i: rate for i, rate in enumerate(module.used)}, memory.rates


def warmup(step):
    return min((step + 1) / WARMUP, 1.0)


def nominal(make_scheduler, steps, *, every):
    """Returns the rates of a scheduler alone, stepped after every ``every`` steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make_scheduler(optimizer)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0:
            scheduler.step(*([1.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
    return rates


def plateau():
    def make(optimizer):
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=1)

    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=LR)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": make(optimizer), "monitor": "constant", "interval": "epoch"},
        }

    rates = nominal(make, BATCHES * EPOCHS, every=BATCHES)
    requested = {step: rate * warmup(step) for step, rate in enumerate(rates)}
    return requested, *fit(configure, [GradualWarmup(steps=WARMUP)])


def one_cycle():
    def make(optimizer):
        return OneCycleLR(optimizer, max_lr=LR, total_steps=BATCHES * EPOCHS + 1, cycle_momentum=False)

    def configure(module):
        optimizer = RecordingSGD(module.parameters(), lr=LR)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": make(optimizer), "interval": "step"}}

    rates = nominal(make, BATCHES * EPOCHS, every=1)
    requested = {step: rate * warmup(step) for step, rate in enumerate(rates)}
    return requested, *fit(configure, [GradualWarmup(steps=WARMUP)])


def cosine(total):
    """Warm-up, then a cosine over the rest of the run, in optimizer steps."""
    return {
        step: LR * warmup(step) * 0.5 * (1 + math.cos(math.pi * max(step - WARMUP, 0) / (total - WARMUP)))
        for step in range(total)
    }


def accumulation():
    total = BATCHES // 2 * EPOCHS
    return cosine(total), *fit(None, [GradualWarmup(steps=WARMUP), CosineDecay()], accumulate=2)


def resume():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crashed.ckpt"
        tricks = [GradualWarmup(steps=WARMUP), CosineDecay()]
        first_used, first_logged = fit(None, tricks, crash=CrashAt(27, path))
        tricks = [GradualWarmup(steps=WARMUP), CosineDecay()]
        used, logged = fit(None, tricks, ckpt_path=path)
    return cosine(BATCHES * EPOCHS), first_used | used, first_logged | logged


PANELS = {
    "warm-up × ReduceLROnPlateau (by epoch)": plateau,
    "warm-up × OneCycleLR (by step)": one_cycle,
    "warm-up × cosine, 2 batches accumulated": accumulation,
    "warm-up × cosine, crashed and resumed at step 27": resume,
}


def measure():
    """Returns requested, used and logged rates of each panel, per optimizer step."""
    results = {name: run() for name, run in PANELS.items()}
    for name, (requested, used, logged) in results.items():
        if not requested.keys() == used.keys() == logged.keys():
            raise RuntimeError(f"{name}: not every step was seen")
        differences = (max(abs(rates[step] - requested[step]) for step in requested) for rates in (used, logged))
        print(f"{name}: |used - requested| ≤ {next(differences):.1e}, |logged - requested| ≤ {next(differences):.1e}")
    return results


def picture(results):
    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, (name, (requested, used, logged)) in zip(figure.subplots(2, 2).flat, results.items(), strict=True):
        axes.plot(*zip(*requested.items(), strict=True), color="0.75", linewidth=5, label="requested")
        axes.plot(*zip(*used.items(), strict=True), "o", color="#0072b2", fillstyle="none", markersize=5, label="used")
        axes.plot(*zip(*logged.items(), strict=True), "x", color="#d55e00", markersize=3.5, label="logged")
        axes.set(title=name, xlabel="optimizer step", ylabel="learning rate", ylim=(0, 1.1 * LR))
        axes.title.set_fontsize(10)
        if "resumed" in name:
            axes.axvline(26.5, color="black", linestyle=":", linewidth=1)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def main():
    IMAGES.mkdir(parents=True, exist_ok=True)
    picture(measure()).savefig(IMAGES / "lr_overlay.png", dpi=100)


if __name__ == "__main__":
    main()
