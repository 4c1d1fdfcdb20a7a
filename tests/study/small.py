"""Data and a module for studies that take a moment."""

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.plain import PlainModule

CPU = {"accelerator": "cpu", "devices": 1}


class Data(pl.LightningDataModule):
    """32 training, 8 validation and 6 test images; the order comes from the global generator, as is usual."""

    def __init__(self, *, seed):
        super().__init__()
        self.seed = seed

    def setup(self, stage):
        generator = torch.Generator().manual_seed(self.seed)
        images = torch.randn(40, 3, 6, 4, generator=generator)
        labels = torch.randint(5, (40,), generator=generator)
        self.train, self.validation = TensorDataset(images[:32], labels[:32]), TensorDataset(images[32:], labels[32:])
        if stage == "test":
            self.test = TensorDataset(torch.full((6, 3, 6, 4), 7.0), torch.arange(6) % 5)

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.validation, batch_size=3)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=4)


class Module(PlainModule):
    """Logs an accuracy and its first weight."""

    def __init__(self, lr=0.1):
        super().__init__(lr=lr)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())
        self.log("weight", self.net[1].weight[0, 0])


class Spy(pl.Callback):
    """Notes the first weights, the training batches, the evaluated batches and the last weights of one run."""

    def __init__(self, notes):
        self.run = {"batches": [], "evaluated": [], "epochs": 0}
        notes.append(self.run)

    def on_train_start(self, trainer, module):
        self.run["first"] = module.net[1].weight.detach().clone()
        self.run["lr"] = module.lr

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.run["batches"].append(batch[0].clone())

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        if trainer.state.fn == "validate":
            self.run["evaluated"].append(batch[0].clone())

    def on_train_epoch_end(self, trainer, module):
        self.run["epochs"] += 1

    def on_train_end(self, trainer, module):
        self.run["last"] = module.net[1].weight.detach().clone()
        self.run["trainer"] = trainer
