"""Soft targets compile into one graph with the same numbers; refusals stand there too."""

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F

from lightning_tricks import SoftTarget
from tests.soft_target.targets import C, make, make_logits


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def plain_step(logits, target):
    correct = (logits.argmax(1) == target).float().mean()
    target = target.to(logits.device).long()
    loss = F.cross_entropy(logits[:4], target.view(-1)[:4], label_smoothing=0.1)
    loss = loss + F.mse_loss(logits[:, 0], target.float()) + F.nll_loss(logits.log_softmax(1), target.flip(0))
    return loss * target.size(0), correct


def attached_step(logits, target):
    return F.cross_entropy(logits, target), (logits.argmax(1) == target).float().mean()


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("attached", [False, True])
def test_one_graph_with_the_same_numbers(backend, attached):
    step = attached_step if attached else plain_step
    compiled = torch.compile(step, fullgraph=True, backend=backend)
    for seed in range(3):
        _, _, target = make(seed=seed)
        if attached:
            target = SoftTarget.distil(SoftTarget.smooth(target, 0.1), make_logits(7, C, seed=9).detach())
        logits = make_logits(7, C, seed=seed)
        got, expected = compiled(logits, target), step(logits, target)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(
            torch.autograd.grad(got[0], logits), torch.autograd.grad(expected[0], logits), rtol=1e-5, atol=1e-6
        )
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: (z * F.one_hot(y, C)).sum(),
        lambda z, y: z[torch.arange(7), y].sum(),
        lambda z, y: (z * (y[:, None] == torch.arange(C))).sum(),
        lambda z, y: F.multi_margin_loss(z, y),
        lambda z, y: F.l1_loss(z[:, 0], y.float(), weight=torch.ones(7)),
        lambda z, y: z.sum() * y,
    ],
    ids=["one_hot", "index", "compare", "multi_margin_loss", "weighted l1_loss", "mul"],
)
def test_refusals_stand_under_compilation(loss, backend, grad):
    compiled = torch.compile(loss, backend=backend)
    with torch.set_grad_enabled(grad), pytest.raises(RuntimeError, match="SoftTarget"):
        compiled(make_logits(7, C), make()[2])
