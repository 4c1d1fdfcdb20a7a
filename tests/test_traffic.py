import pytest
import torch

from tests.traffic import traffic_of

X = torch.zeros(6, 4)
N = X.numel() * X.element_size()


@pytest.mark.parametrize(
    ("function", "moved"),
    [
        (lambda: X.clone(), 2 * N),
        (lambda: X + X, 3 * N),
        (lambda: X.clone().add_(X), 5 * N),
        (lambda: torch.add(X, X, out=torch.empty_like(X)), 3 * N),
        (lambda: torch.empty_like(X).copy_(X), 2 * N),
        (lambda: torch.empty_like(X)[:3].copy_(X[3:]), N),
        (lambda: X.roll(-1, 0), 2 * N),
        (lambda: X.view(3, 8).transpose(0, 1)[1:], 0),
        (lambda: torch.empty(9), 0),
        (lambda: X.new_zeros(6, 4), N),
        (lambda: X[:, :1].expand(6, 4) + X, 2 * N + N / 4),
        (lambda: X.index_select(0, torch.tensor([2])), 2 * N / 6 + 8),
        (lambda: X.double(), 3 * N),
        (lambda: torch.cat([X, X]), 4 * N),
    ],
)
def test_counts_what_each_operation_reads_and_writes(function, moved):
    assert traffic_of(function) == moved


def test_counts_without_memory_on_the_meta_device():
    x = torch.empty(1 << 20, 1 << 10, device="meta")
    assert traffic_of(lambda: x.mul_(2)) == 2 * 4 * x.numel()
