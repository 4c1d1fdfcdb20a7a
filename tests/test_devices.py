"""Nothing is read back from the device: shown on meta tensors everywhere, and on a GPU where there is one."""

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet50

from lightning_tricks import CosineDecay, CutMix, GradualWarmup, Mixup, RandomChoice, RandomErasing
from tests.plain import PlainModule
from tests.registry import BATCH_TRICKS, LABEL_TRICKS

N, C, H, W = 6, 3, 16, 12
TRICKS = BATCH_TRICKS | LABEL_TRICKS
KERNELS = {name: make for name, make in TRICKS.items() if "Augment" not in name}  # which runs others' transforms
gpu = pytest.mark.gpu
without_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Meta(PlainModule):
    """Trains on the meta device, where there are shapes and no values, so that reading one is an error."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [part.to("meta") for part in batch]

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.on_meta[0](x), y)
        self.devices.append((x.device.type, y.device.type, loss.device.type))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS.keys())
def test_the_whole_path_to_the_loss_on_meta_tensors(make_trainer, make):
    module = Meta(size=(H, W))
    module.devices = []
    module.on_meta = [nn.Sequential(nn.Flatten(), nn.Linear(C * H * W, 5)).to("meta")]  # unseen by the Trainer
    module.automatic_optimization = False
    data = TensorDataset(torch.rand(N, C, H, W), torch.arange(N) % 5)
    trainer = make_trainer(callbacks=[make()])
    trainer.fit(module, DataLoader(data, batch_size=3))
    assert module.devices == [("meta", "meta", "meta")] * 2


@gpu
@without_gpu
@pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS.keys())
def test_nothing_synchronises_and_everything_stays_on_the_device(make):
    images, labels = torch.rand(N, C, H, W, device="cuda"), torch.arange(N, device="cuda") % 5
    net = nn.Linear(C * H * W, 5, device="cuda")
    trick = make()
    trick((images, labels), rng=0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        new_images, target = trick((images, labels), rng=1)
        F.cross_entropy(net(new_images.flatten(1)), target).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert new_images.device == target.device == images.device


@gpu
@without_gpu
@pytest.mark.slow
def test_throughput_on_a_resnet50_in_bf16(make_trainer):
    """Interleaved epochs with and without tricks; the ratio of their medians is at least 0.98."""

    class Net(PlainModule):
        def __init__(self):
            super().__init__()
            self.net = resnet50().to(memory_format=torch.channels_last)

        def train_dataloader(self):
            images = torch.rand(128, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
            labels = torch.randint(5, (128,), device="cuda")
            return [(images, labels)] * 30

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self.net(batch[0]), batch[1])

    def seconds(tricks):
        trainer = make_trainer(callbacks=tricks, accelerator="gpu", precision="bf16-mixed")
        module = Net()
        torch.cuda.synchronize()
        start = time.perf_counter()
        trainer.fit(module)
        torch.cuda.synchronize()
        return time.perf_counter() - start

    def tricks():
        return [RandomChoice([Mixup(), CutMix()]), RandomErasing(), GradualWarmup(steps=5), CosineDecay()]

    seconds([])
    pairs = [(seconds([]), seconds(tricks())) for _ in range(5)]
    plain, tricked = (sorted(column)[2] for column in zip(*pairs, strict=True))
    assert plain / tricked >= 0.98
