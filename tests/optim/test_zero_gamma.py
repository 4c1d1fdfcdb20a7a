import pytest
import timm
import torch
from torch import nn
from torchvision.models import resnet18, resnet50, vgg11

from lightning_tricks.optim import zero_gamma


class PlainBlock(nn.Module):
    def __init__(self, affine=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, affine=affine)
        self.shortcut = nn.Sequential()

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.shortcut(x)


def zeroed(net):
    return [name for name, p in net.named_parameters() if name.endswith("weight") and not p.any()]


@pytest.mark.parametrize(
    ("build", "last", "count"),
    [
        (lambda: resnet18(), "bn2", 8),
        (lambda: resnet50(), "bn3", 16),
        (lambda: timm.create_model("resnet18", zero_init_last=False), "bn2", 8),
        (lambda: timm.create_model("resnet26", zero_init_last=False), "bn3", 8),
    ],
)
def test_last_scale_of_every_block_of_torchvision_and_timm(build, last, count):
    net = build()
    assert zeroed(net) == []
    assert zero_gamma(net) == count
    names = zeroed(net)
    assert len(names) == count
    assert all(name.endswith(f".{last}.weight") for name in names)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnext50_32x4d", "seresnet50", "resnest14d", "skresnet18", "skresnet50", "res2net50_26w_4s"]
)
def test_zeroes_what_timm_zeroes(name):
    net = timm.create_model(name, zero_init_last=False)
    zero_gamma(net)
    assert zeroed(net) == zeroed(timm.create_model(name, zero_init_last=True)) != []


def test_a_block_begins_as_its_shortcut():
    block = PlainBlock()
    x = torch.randn(3, 4, 6, 5)
    assert not torch.equal(block(x), x)
    assert zero_gamma(nn.Sequential(block)) == 1
    assert torch.equal(block(x), x)
    block(x).sum().backward()
    assert block.bn2.weight.grad.any(), "a zero scale must still learn"


def test_a_net_without_blocks_is_refused():
    with pytest.raises(ValueError, match="needs residual blocks with bn2 and a shortcut, but got VGG without one"):
        zero_gamma(vgg11(init_weights=False))


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match=r"zero_gamma needs module to be an nn.Module, but got list"):
        zero_gamma([PlainBlock()])


def test_a_block_without_a_scale_is_refused_before_anything_changes():
    net = nn.Sequential(PlainBlock(), PlainBlock(affine=False))
    with pytest.raises(ValueError, match="needs a scale in each block's last normalisation, but got none in '1'"):
        zero_gamma(net)
    assert zeroed(net) == []
