"""A module whose optimizer writes down the learning rate that its own arithmetic uses."""

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def recording(optimizer_class):
    """A subclass that appends the learning rate of each group to ``used`` from inside its step, after the closure."""

    class Recording(optimizer_class):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.used = []

        def _init_group(self, group, *args, **kwargs):
            if group is self.param_groups[0]:
                self.used.append([])
            self.used[-1].append(float(group["lr"]))
            return super()._init_group(group, *args, **kwargs)

    Recording.__name__ = optimizer_class.__name__
    return Recording


RecordingSGD = recording(torch.optim.SGD)
RecordingAdam = recording(torch.optim.Adam)


def vectors(batches=4, batch_size=2):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(batches * batch_size, 3, generator=generator))


def loader(batches=4, batch_size=2):
    return DataLoader(vectors(batches, batch_size), batch_size=batch_size)


class RecordingModule(pl.LightningModule):
    """One linear layer; ``configure(module)`` gives what ``configure_optimizers`` returns."""

    def __init__(self, configure=None, lr=0.1):
        super().__init__()
        self.net = nn.Linear(3, 2)
        with torch.no_grad():
            self.net.weight.copy_(torch.arange(6.0).view(2, 3) / 6)
            self.net.bias.zero_()
        self.configure = configure or (lambda module: RecordingSGD(module.parameters(), lr=lr))

    def training_step(self, batch, batch_idx):
        self.log("constant", 1.0)
        return self.net(batch[0]).square().mean()

    def configure_optimizers(self):
        return self.configure(self)

    @property
    def used(self):
        """The learning rates that the (only) optimizer has used for its first group."""
        return [rates[0] for rates in self.trainer.optimizers[0].used]


class ManualModule(RecordingModule):
    """Steps each of its optimizers as often a batch as ``steps`` says."""

    def __init__(self, configure=None, lr=0.1, steps=(1,)):
        super().__init__(configure, lr)
        self.automatic_optimization = False
        self.steps = steps

    def training_step(self, batch, batch_idx):
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer, steps in zip(optimizers, self.steps, strict=True):
            for _ in range(steps):
                optimizer.zero_grad()
                self.manual_backward(self.net(batch[0]).square().mean())
                optimizer.step()
