"""Studies in which no arm differs from the baseline, so that every verdict of a difference is false."""

import math
from dataclasses import dataclass
from functools import partial

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_tricks.study import Ablation, Arm, compare


@dataclass
class Calibration:
    """How often such studies are wrong.

    Attributes:
        studies: how many were judged.
        false_verdicts: how many of them call any arm better or worse.
        covered: for each study, the share of its intervals that hold the true difference, zero.
    """

    studies: int = 0
    false_verdicts: int = 0
    covered: list[float] | None = None

    def add(self, rows):
        arms = rows[1:]
        self.studies += 1
        self.false_verdicts += any(row.verdict in ("helps", "hurts") for row in arms)
        self.covered = [*(self.covered or []), sum(row.low <= 0 <= row.high for row in arms) / len(arms)]

    @property
    def false_share(self):
        return self.false_verdicts / self.studies

    @property
    def coverage(self):
        return float(np.mean(self.covered))

    @property
    def coverage_error(self):
        """The Monte-Carlo standard error; the arms of a study share a baseline, so a study counts once."""
        return float(np.std(self.covered)) / math.sqrt(self.studies)

    @property
    def false_share_bound(self):
        """Five in a hundred, and three standard errors."""
        return 0.05 + 3 * math.sqrt(0.05 * 0.95 / self.studies)


def _records(values, *, train_size, eval_size):
    """Records of an array (arm, seed), the baseline first."""
    sizes = {"train_size": train_size, "eval_size": eval_size}
    names = ["baseline", *(f"arm {i}" for i in range(1, len(values)))]
    return [
        {"arm": name, "seed": seed, "metric": "val_acc", "value": float(value), "seconds": 0.0, **sizes}
        for name, row in zip(names, values, strict=True)
        for seed, value in enumerate(row)
    ]


def model_of_the_correction(*, studies, num_seeds, num_arms, eval_size=100, corrected=True, seed=0):
    """Normal values in which two splits' differences correlate as Nadeau and Bengio suppose, where the t is exact."""
    rng = np.random.default_rng(seed)
    train_size = 3 * eval_size
    rho = eval_size / (train_size + eval_size)
    result = Calibration()
    for _ in range(studies):
        shared = rng.normal(size=(num_arms + 1, 1)) * math.sqrt(rho)
        values = shared + rng.normal(size=(num_arms + 1, num_seeds)) * math.sqrt(1 - rho)
        sizes = {"train_size": train_size if corrected else 10**12, "eval_size": eval_size}
        result.add(compare(_records(values, **sizes)))
    return result


def overlapping_splits(*, studies, num_seeds, num_arms, pool=80, dimensions=12, seed=0):
    """Classifiers that draw half of the features, on random splits of one small data set for each study.

    Every arm, the baseline too, draws features of its own for each seed, and all have the seed's split: arms differ in
    their draws alone. A split is three parts training to one part validation; the classifier takes the nearer centroid.
    """
    rng = np.random.default_rng(seed)
    eval_size = pool // 4
    result = Calibration()
    labels = np.tile([-1.0, 1.0], pool // 2)
    for _ in range(studies):
        images = rng.normal(size=(pool, dimensions)) + 0.35 * labels[:, None]
        values = np.empty((num_arms + 1, num_seeds))
        for split in range(num_seeds):
            order = rng.permutation(pool)
            x, y, x_val, y_val = (
                images[order[eval_size:]],
                labels[order[eval_size:]],
                images[order[:eval_size]],
                labels[order[:eval_size]],
            )
            ahead, behind = x[y > 0].mean(0), x[y < 0].mean(0)
            features = rng.random((dimensions, num_arms + 1)).argsort(0) < dimensions // 2
            scores = (x_val - (ahead + behind) / 2) @ ((ahead - behind)[:, None] * features)
            values[:, split] = (np.sign(scores) == y_val[:, None]).mean(0)
        result.add(compare(_records(values, train_size=pool - eval_size, eval_size=eval_size)))
    return result


METRICS = {
    "accuracy": lambda pred, y: (pred == y).mean(-1),
    "in single precision": lambda pred, y: (pred == y).mean(-1).astype(np.float32),
    "percent": lambda pred, y: 100 * (pred == y).mean(-1),
    "percent, 2 digits": lambda pred, y: np.round(100 * (pred == y).mean(-1), 2),
    "percent, no digits": lambda pred, y: np.round(100 * (pred == y).mean(-1)),
    "2 digits": lambda pred, y: np.round((pred == y).mean(-1), 2),
    "3 digits": lambda pred, y: np.round((pred == y).mean(-1), 3),
    "error": lambda pred, y: (pred != y).mean(-1),
    "macro accuracy": lambda pred, y: _macro(pred, y, lambda hit, said, true: hit / np.maximum(true, 1)),
    "macro F1": lambda pred, y: _macro(pred, y, lambda hit, said, true: 2 * hit / np.maximum(said + true, 1)),
}


def _macro(pred, y, score):
    """The mean over ten classes of a score of the right ones, the predicted ones and the true ones."""
    counts = [((pred == c) & (y == c), pred == c, y == c) for c in range(10)]
    return np.mean([score(*(mask.sum(-1) for mask in masks)) for masks in counts], 0)


def shared_images(metric, *, studies, num_seeds, num_arms, eval_size, accuracy=0.9, seed=0):
    """Predictions that are right with a chance of each image's own, the images being the same for all runs of a study.

    The training part is so large that the correction for overlapping splits does nothing.
    """
    rng = np.random.default_rng(seed)
    result = Calibration()
    for _ in range(studies):
        y = rng.integers(10, size=eval_size)
        chance = rng.beta(2 * accuracy, 2 - 2 * accuracy, size=eval_size)
        shape = num_arms + 1, num_seeds, eval_size
        pred = np.where(rng.random(shape) < chance, y, (y + rng.integers(1, 10, size=shape)) % 10)
        result.add(compare(_records(METRICS[metric](pred, y), train_size=10**6, eval_size=eval_size)))
    return result


class Digits(pl.LightningDataModule):
    """A third of scikit-learn's digits, 450 for training and 150 for validation."""

    def __init__(self, *, seed, study):
        super().__init__()
        self.order = torch.from_numpy(np.random.default_rng((study, seed)).permutation(600))

    def setup(self, stage):
        digits = load_digits()
        images = torch.tensor(digits.data[:600], dtype=torch.float32)[self.order] / 16
        labels = torch.tensor(digits.target[:600])[self.order]
        self.parts = TensorDataset(images[:450], labels[:450]), TensorDataset(images[450:], labels[450:])

    def train_dataloader(self):
        return DataLoader(self.parts[0], batch_size=75, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], batch_size=150)


class Net(pl.LightningModule):
    """One hidden layer; the first weights are the study's, the seed's and the arm's own."""

    def __init__(self, *, own):
        super().__init__()
        # The global generator holds the run's seed.
        torch.manual_seed(int(np.random.SeedSequence((own, torch.initial_seed())).generate_state(1)[0]))
        self.net = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self.net(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)


def digits_study(study, *, num_seeds, num_arms, max_epochs=2):
    """Identical trainings of digits whose arms differ in their first weights alone."""
    arms = {f"arm {i}": Arm(module_factory=partial(Net, own=i + 100 * study)) for i in range(1, num_arms + 1)}
    ablation = Ablation(
        partial(Net, own=100 * study),
        partial(Digits, study=study),
        arms,
        num_seeds=num_seeds,
        max_epochs=max_epochs,
        trainer_options={"accelerator": "cpu", "devices": 1},
    )
    return ablation.run(progress=False)


def digits(*, studies, num_seeds, num_arms):
    """Many of :func:`digits_study`."""
    result = Calibration()
    for study in range(studies):
        result.add(digits_study(study, num_seeds=num_seeds, num_arms=num_arms).rows)
    return result
