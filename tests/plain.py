"""The module that a user would have written without knowing of this package, and small data for it."""

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Accuracy


class PlainModule(pl.LightningModule):
    def __init__(self, num_classes=5, lr=0.1, size=(6, 4)):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * size[0] * size[1], num_classes))
        self.accuracy = Accuracy("multiclass", num_classes=num_classes)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.accuracy(logits, y)
        self.log("train_acc", self.accuracy)
        return F.cross_entropy(logits, y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def image_loader(n=32, batch_size=8, num_classes=5, shuffle=False, seed=0, size=(6, 4)):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, *size, generator=generator)
    labels = torch.randint(num_classes, (n,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=shuffle)
