"""Times the tricks in training: microseconds per step, and seconds of import.

``python -m benchmarks.overhead`` prints three tables: a step of a tiny module with tricks in the callback list (whose
batch of 2×1×2×2 leaves no arithmetic to speak of) or with Mixup written into its ``training_step``, a step of a
ResNet-18 at 64 pixels, and the import. What is compared takes turns in one process (each import has a fresh one); the
figures are medians.
"""

import argparse
import logging
import subprocess
import sys
import time
import warnings
from statistics import median

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import resnet18
from torchvision.transforms import v2

from benchmarks.machine import machine
from lightning_tricks import (
    RICAP,
    CosineDecay,
    CutMix,
    Cutout,
    GradualWarmup,
    LabelSmoothing,
    LinearScaling,
    Mixup,
    RandomErasing,
)

BATCH_TRICKS = [
    Mixup,
    lambda: CutMix(),
    lambda: RICAP(),
    lambda: Cutout(length=1),
    lambda: RandomErasing(),
    LabelSmoothing,
]
LR_TRICKS = [lambda: GradualWarmup(steps=50), lambda: CosineDecay(), lambda: LinearScaling(batch_size=2)]
PEERS = "import lightning.pytorch, torchvision, torchmetrics"


class Module(pl.LightningModule):
    """A network and its batch, on which every step is the same."""

    def __init__(self, net, batch, steps):
        super().__init__()
        self.net, self.batch, self.steps = net, batch, steps

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def train_dataloader(self):
        return DataLoader([self.batch] * self.steps, batch_size=None)


class MixupAsPublished(Module):
    """The module with the paper's own Mixup written into it, and the two losses that it asks for."""

    def training_step(self, batch, batch_idx):
        images, target = batch
        lam = np.random.beta(0.2, 0.2)
        partner = torch.randperm(len(images))
        logits = self.net(lam * images + (1 - lam) * images[partner])
        return lam * F.cross_entropy(logits, target) + (1 - lam) * F.cross_entropy(logits, target[partner])


class MixupOfTorchvision(Module):
    """The module with torchvision's transform written into it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.mixup = v2.MixUp(alpha=0.2, num_classes=2)

    def training_step(self, batch, batch_idx):
        images, target = self.mixup(*batch)
        return F.cross_entropy(self.net(images), target)


class Clock(pl.Callback):
    """Records when each batch begins."""

    def __init__(self):
        self.times = []

    def on_train_batch_start(self, *args):
        self.times.append(time.perf_counter())


def step_seconds(make_module, tricks):
    """Returns the median time per step of one fit, without its first steps."""
    clock = Clock()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[clock, *(make() for make in tricks)],
    )  # fmt: skip
    trainer.fit(make_module())
    gaps = [later - earlier for earlier, later in zip(clock.times, clock.times[1:], strict=False)]
    return median(gaps[len(gaps) // 10 :])


def interleaved(contenders, rounds):
    """Returns the median over the rounds per pair (module factory, tricks); all take turns within a round."""
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            times[name].append(step_seconds(*contender))
    return {name: median(values) for name, values in times.items()}


def table(title, rows):
    print(f"\n{title}")
    for name, figure in rows:
        print(f"  {name:<44}{figure}")


def tiny(rounds):
    batch = (torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))

    def maker(kind):
        return lambda: kind(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), batch, 400)

    lists = {"no trick": [], "a callback that does nothing": [pl.Callback]}
    lists |= {f"{count} batch tricks": BATCH_TRICKS[:count] for count in (1, 2, 5)}
    lists |= {type(make()).__name__: [make] for make in BATCH_TRICKS[1:]}
    lists |= {f"{count} LR tricks": LR_TRICKS[:count] for count in (1, 3)}
    contenders = {name: (maker(Module), tricks) for name, tricks in lists.items()}
    contenders["Mixup as published, in training_step"] = (maker(MixupAsPublished), [])
    contenders["torchvision's MixUp, in training_step"] = (maker(MixupOfTorchvision), [])
    times = interleaved(contenders, rounds)
    base = times.pop("no trick")
    rows = [("no trick", f"{base * 1e6:7.0f} µs a step")]
    for name, seconds in times.items():
        more, (_, tricks) = (seconds - base) * 1e6, contenders[name]
        rows.append((name, f"{more:+7.0f} µs, {more / (len(tricks) or 1):4.0f} each"))
    table("A step of a tiny module", rows)


def resnet(rounds, steps=12):
    batch = (torch.rand(32, 3, 64, 64), torch.arange(32) % 10)
    lists = {"no trick": [], "Mixup, GradualWarmup, CosineDecay": [Mixup, *LR_TRICKS[:2]]}
    lists["5 batch tricks, 2 LR tricks"] = [*BATCH_TRICKS[:5], *LR_TRICKS[:2]]
    contenders = {
        name: (lambda: Module(resnet18(num_classes=10), batch, steps), tricks) for name, tricks in lists.items()
    }
    times = interleaved(contenders, rounds)
    base = times["no trick"]
    rows = [
        (name, f"{seconds * 1e3:7.1f} ms a step, {100 * (seconds / base - 1):+.1f}%") for name, seconds in times.items()
    ]
    table("A step of a ResNet-18, 32×3×64×64", rows)


def imports(rounds):
    code = (
        f"import time; start = time.perf_counter(); {PEERS}; middle = time.perf_counter(); import lightning_tricks; "
        "print(middle - start, time.perf_counter() - middle)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(rounds)
    ]
    base, ours = (median(map(float, values)) for values in zip(*runs, strict=True))
    table("Import", [(PEERS, f"{base:.2f} s"), ("lightning_tricks after them", f"{ours * 1e3:+.0f} ms")])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(machine("lightning"))
    tiny(rounds)
    resnet(rounds)
    imports(rounds)


if __name__ == "__main__":
    main()
