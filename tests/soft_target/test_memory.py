"""Soft targets share no memory with plain tensors, and nobody reads theirs."""

import subprocess
import sys

import pytest
import torch
from torch.utils import dlpack

from lightning_tricks import SoftTarget, soft_labels

MAKE = {
    "mix": lambda y: SoftTarget.mix([y], [torch.ones(3)]),
    "smooth": lambda y: SoftTarget.smooth(y, 0.1),
    "smooth by nothing": lambda y: SoftTarget.smooth(y, 0.0),
    "distil": lambda y: SoftTarget.distil(y, torch.zeros(3, 3)),
    "part": lambda y: SoftTarget.smooth(y, 0.1)[:],
    "detached": lambda y: SoftTarget.smooth(y, 0.1).detach(),
    "data": lambda y: SoftTarget.smooth(y, 0.1).data,
}
READ = {
    "hard": lambda target: target.hard,
    "labels": lambda target: target.components[0][0],
    "weights": lambda target: target.components[0][1],
    "numpy": lambda target: target.numpy(),
}


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("make", MAKE)
def test_a_write_reaches_neither_the_users_labels_nor_the_soft_target(make, read):
    y = torch.tensor([0, 1, 2])
    target = MAKE[make](y)
    READ[read](target)[:] = 2
    assert y.tolist() == [0, 1, 2]
    assert target.hard.tolist() == [0, 1, 2]
    assert target.components[0][1].tolist() == [1, 1, 1]
    y.zero_()
    assert target.hard.tolist() == [0, 1, 2]


def test_a_write_into_probabilities_does_not_reach_the_soft_target():
    target = SoftTarget.smooth(torch.tensor([0, 1, 2]), 0.1)
    soft_labels(target, 3).zero_()
    assert target.components[0][1].tolist() == [1, 1, 1]


def set_data(y):
    plain = torch.zeros(3, dtype=y.dtype)
    plain.data = y
    return plain


def set_storage(y):
    return torch.zeros(3, dtype=y.dtype).set_(y.untyped_storage(), 0, (3,), (1,))


def parameter(y):
    held = torch.nn.Parameter(torch.zeros(3))
    held.data = y.float()
    return held.detach()


SMUGGLED = {
    "data": set_data,
    "storage": set_storage,
    "parameter": parameter,
    "capsule": lambda y: torch.from_dlpack(dlpack.to_dlpack(y)),
    "capsule of _C": lambda y: torch.from_dlpack(torch._C._to_dlpack(y)),
    "data of a part": lambda y: set_data(y[:]),
    "data of a copy": lambda y: set_data(y.clone()),
}
READS = {
    "add": lambda plain: plain + 1,
    "sum": lambda plain: plain.sum(),
    "index": lambda plain: torch.eye(3)[plain.long()],
    "list": lambda plain: plain.tolist(),
    "numpy": lambda plain: plain.numpy().sum(),
    "clone": lambda plain: plain.clone(),
    "write": lambda plain: plain.zero_(),
}


def test_what_comes_past_the_policy_raises_when_it_is_read():
    """In a process of its own, which a read of no memory would kill."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {__name__} as t; t.read_all()"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def read_all():
    for k in (1, 2):
        for smuggle in SMUGGLED.values():
            for read in READS.values():
                labels = [torch.tensor([0, 1, 2])] * k
                target = SoftTarget.mix(labels, [torch.full((3,), 1 / k)] * k)
                with pytest.raises(RuntimeError, match=r"SoftTarget|unallocated storage"):
                    read(smuggle(target))
