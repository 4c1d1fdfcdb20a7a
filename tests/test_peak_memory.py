import pytest
import torch

from tests.peak_memory import peak_memory_of

N = 4000  # bytes
X = torch.ones(1000)


def chain():
    y = X + 1  # 1 N
    y = y * 2  # 2 N, then 1 N again
    return y + 1


def kept():
    return X + 1, X + 2, X + 3


def in_place():
    return torch.empty_like(X).copy_(X).mul_(2)


def on_what_was_given():
    return X.view(10, 100)[3:].t()


@pytest.mark.parametrize(("call", "peak"), [(chain, 2), (kept, 3), (in_place, 1), (on_what_was_given, 0)])
def test_it_is_what_lives_at_once(call, peak):
    assert peak_memory_of(call) == peak * N
