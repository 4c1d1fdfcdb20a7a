"""Trains a small net with and without a better teacher: ``python -m benchmarks.distillation``.

The digits of scikit-learn, five seeds. The student is one hidden layer of 8 units; the teacher, a small convolutional
net, is trained on the training part alone. All that differs between the arms is the line ``Distillation(teacher)``.
"""

import argparse
import warnings

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import nn

from lightning_tricks import Ablation, Arm, Distillation
from lightning_tricks.data import DigitsDataModule
from lightning_tricks.models import Classifier

TEACHER_EPOCHS = 15


class Student(pl.LightningModule):
    """A student that knows no teacher."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class Teacher(Student):
    """The net of the command, in place of the hidden layer."""

    def __init__(self):
        super().__init__()
        self.net = Classifier(lr=0.05).net


def train_teacher(datamodule, seed):
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=TEACHER_EPOCHS, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    teacher = Teacher()
    trainer.fit(teacher, datamodule=datamodule)
    return teacher


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    arms = {
        f"distillation, T = {temperature:g}": Arm(
            lambda teacher, temperature=temperature: [Distillation(teacher, temperature=temperature)],
            prepare=train_teacher,
        )
        for temperature in (1.0, 4.0)
    }
    arms["the teacher itself"] = Arm(module_factory=Teacher)
    study = Ablation(Student, DigitsDataModule, arms, num_seeds=options.seeds, max_epochs=options.epochs)
    result = study.run(progress=False)
    print("| arm | accuracy % | difference, points | 95% interval | verdict |\n|---|---|---|---|---|")
    for row in result.rows:
        paired = f"{100 * row.difference:+.2f} | {100 * row.low:+.2f} to {100 * row.high:+.2f}"
        print(f"| {row.arm} | {100 * row.value:.2f} | {paired} | {row.verdict} |")


if __name__ == "__main__":
    main()
