"""Teachers and students for the tests of distillation."""

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 5
SHAPE = (3, 6, 4)


class Net(nn.Module):
    """Dropout and batch normalisation show in which mode it runs."""

    def __init__(self, num_classes=CLASSES, output=None, seed=3):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(72), nn.Dropout(0.5), nn.Linear(72, num_classes))
        self.output = output
        self.calls = []

    def forward(self, x):
        logits = self.body(x)
        self.calls.append((self.training, torch.is_grad_enabled(), logits.dtype, x))
        return logits if self.output is None else self.output(logits)


class Student(pl.LightningModule):
    def __init__(self, num_classes=CLASSES, label_smoothing=0.0):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(72, num_classes))
        self.label_smoothing = label_smoothing
        self.losses = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.seen = (x, y)
        self.logits = self.net(x)
        loss = F.cross_entropy(self.logits, y, label_smoothing=self.label_smoothing)
        self.losses.append(loss.detach())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def naive_loss(z, r, y, temperature=4.0, weight=1.0):
    """l(p, softmax(z)) + w·T²·l(softmax(r/T), softmax(z/T)) for hard labels."""
    terms = -((r / temperature).softmax(1) * (z / temperature).log_softmax(1)).sum(1).mean()
    return F.cross_entropy(z, y) + weight * temperature**2 * terms
