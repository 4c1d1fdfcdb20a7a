import math

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from lightning_tricks.optim.param_groups import weight_decay_groups


class Scaled(nn.Module):
    """A layer that is not torch's, with a scale, a bias by another name and a weight."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))
        self.temperature = nn.Parameter(torch.ones(()))
        self.spatial_bias = nn.Parameter(torch.zeros(1, 4, 2))
        self.kernel = nn.Parameter(torch.ones(4, 2))


def names(module, params):
    known = {id(p): name for name, p in module.named_parameters()}
    return [known[id(p)] for p in params]


def test_weights_are_decayed_and_nothing_else():
    net = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "batch": nn.BatchNorm2d(4),
            "group": nn.GroupNorm(2, 4),
            "layer": nn.LayerNorm((4, 3, 2)),
            "rms": nn.RMSNorm((3, 2)),
            "attention": nn.MultiheadAttention(4, 2),
            "own": Scaled(),
        }
    )
    decayed, others = weight_decay_groups(net, 0.05)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    assert names(net, decayed["params"]) == [
        "conv.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "own.kernel",
    ]
    assert len(decayed["params"]) + len(others["params"]) == len(list(net.parameters()))


def test_tied_and_frozen_parameters_are_there_once():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    net[1].bias.requires_grad_(False)
    decayed, others = weight_decay_groups(net, 0.1)
    assert names(net, decayed["params"]) == ["0.weight"]
    assert names(net, others["params"]) == ["1.bias"]


def test_only_the_first_group_shrinks():
    net = resnet18(num_classes=3)
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(weight_decay_groups(net, 0.5), lr=1.0)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for old, p in zip(before, net.parameters(), strict=True):
        assert torch.equal(p, 0.5 * old if p.ndim > 1 else old)


def test_no_decay_and_an_empty_group():
    decayed, others = weight_decay_groups(nn.Linear(3, 2, bias=False), 0)
    assert (len(decayed["params"]), len(others["params"]), decayed["weight_decay"]) == (1, 0, 0)
    torch.optim.SGD([decayed, others], lr=0.1)


@pytest.mark.parametrize("weight_decay", [-1e-4, math.nan])
def test_a_decay_out_of_range_is_refused(weight_decay):
    with pytest.raises(
        ValueError, match=rf"weight_decay_groups needs weight_decay to be at least 0, but got {weight_decay}"
    ):
        weight_decay_groups(nn.Linear(3, 2), weight_decay)


def test_a_decay_of_another_type_is_refused():
    with pytest.raises(TypeError, match="weight_decay_groups needs weight_decay to be a number, but got '1e-4'"):
        weight_decay_groups(nn.Linear(3, 2), "1e-4")


def test_parameters_in_the_place_of_a_module_are_refused():
    with pytest.raises(TypeError, match=r"weight_decay_groups needs module to be an nn.Module, but got list"):
        weight_decay_groups(list(nn.Linear(3, 2).parameters()), 0.1)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_parameters_are_refused():
    with pytest.raises(ValueError, match=r"needs parameters with a shape, but got a lazy 0\.weight; run a batch first"):
        weight_decay_groups(nn.Sequential(nn.LazyLinear(2)), 0.1)
