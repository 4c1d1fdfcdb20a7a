"""What is not known to be right is refused: with gradients on and off, and on every way around the policy."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from lightning_tricks import SoftTarget, SoftTargetError, hard_labels, mixed_loss, soft_labels
from tests.soft_target.targets import C, make, make_logits

ROWS = torch.arange(7)


class PassThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target):
        ctx.save_for_backward(logits, target)
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx, gradient):
        logits, target = ctx.saved_tensors
        return gradient * (logits.softmax(1) - F.one_hot(target, C)), None


class OwnCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target):
        return -logits.log_softmax(1)[ROWS, target].mean()

    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError


def margin(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return logits.gather(1, target.unsqueeze(1)).mean()


def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, target)


def written_into(z, y, write):
    y = copy.deepcopy(y)
    write(y)


REFUSED = {
    "add": lambda z, y: y + 1,
    "radd": lambda z, y: 1 + y,
    "mul": lambda z, y: z[:, 0] * y,
    "sub": lambda z, y: z[:, 0] - y,
    "div": lambda z, y: y / 2,
    "neg": lambda z, y: -y,
    "pow": lambda z, y: 2**y,
    "mod": lambda z, y: y % 2,
    "abs": lambda z, y: abs(y),
    "== number": lambda z, y: y == 1,
    "number ==": lambda z, y: 1 == y,  # noqa: SIM300
    "!= number": lambda z, y: y != -100,
    "== 0-d": lambda z, y: y == torch.tensor(1),
    "one-hot by ==": lambda z, y: y[:, None] == torch.arange(C),
    "one-hot by expanded ==": lambda z, y: y[:, None].expand(7, C) == torch.arange(C).expand(7, C),
    "pairs by ==": lambda z, y: y[:, None] == y[None],
    "neighbours by ==": lambda z, y: y == y.roll(1),
    "== floats": lambda z, y: y.float() == z[:, 0],
    "== None": lambda z, y: y == None,  # noqa: E711
    "<": lambda z, y: y < 2,
    ">= tensor": lambda z, y: y >= z.argmax(1),
    "isin": lambda z, y: torch.isin(y, torch.tensor([1])),
    "in": lambda z, y: 1 in y,
    "bool": lambda z, y: bool(y[0]),
    "if": lambda z, y: 1 if y[0] else 0,
    "int": lambda z, y: int(y[0]),
    "float": lambda z, y: float(y[0]),
    "list index": lambda z, y: [0, 1, 2, 3, 4][y[0]],
    "bool cast": lambda z, y: y.bool(),
    "to bool": lambda z, y: y.to(torch.bool),
    "view bits": lambda z, y: y.view(torch.float64),
    "one_hot": lambda z, y: F.one_hot(y, C),
    "gather": lambda z, y: z.gather(1, y[:, None]),
    "take_along_dim": lambda z, y: z.take_along_dim(y[:, None], 1),
    "scatter": lambda z, y: torch.zeros(7, C).scatter(1, y[:, None], 1.0),
    "scatter_": lambda z, y: torch.zeros(7, C).scatter_(1, y[:, None], 1.0),
    "eye": lambda z, y: torch.eye(C)[y],
    "pick": lambda z, y: z[ROWS, y],
    "index_select": lambda z, y: torch.eye(C).index_select(0, y),
    "index_add": lambda z, y: torch.zeros(C, C).index_add(0, y, z),
    "embedding": lambda z, y: nn.Embedding(C, 3)(y),
    "index of itself": lambda z, y: y[y],
    "clamp": lambda z, y: y.clamp(0),
    "where": lambda z, y: torch.where(z[:, 0] > 0, y, 0),
    "masked_fill": lambda z, y: y.masked_fill(z[:, 0] > 0, 0),
    "sum": lambda z, y: y.sum(),
    "max": lambda z, y: y.max(),
    "unique": lambda z, y: y.unique(),
    "bincount": lambda z, y: torch.bincount(y),
    "sort": lambda z, y: y.sort(),
    "zeros_like": lambda z, y: torch.zeros_like(y),
    "new_zeros": lambda z, y: y.new_zeros(2),
    "multi_margin_loss": lambda z, y: F.multi_margin_loss(z, y),
    "hinge_embedding_loss": lambda z, y: F.hinge_embedding_loss(z[:, 0], y.float()),
    "soft_margin_loss": lambda z, y: F.soft_margin_loss(z[:, 0], y.float()),
    "poisson": lambda z, y: F.poisson_nll_loss(z[:, 0], y.float()),
    "kl_div": lambda z, y: F.kl_div(z[:, 0], y.float(), reduction="sum"),
    "gaussian": lambda z, y: F.gaussian_nll_loss(z[:, 0], y.float(), torch.ones(7)),
    "adaptive softmax": lambda z, y: nn.AdaptiveLogSoftmaxWithLoss(C, C, [2])(z, y),
    "ctc": lambda z, y: F.ctc_loss(z[:, None].log_softmax(2), y[None], torch.tensor([7]), torch.tensor([7])),
    "focal": lambda z, y: -((1 - z.softmax(1)[ROWS, y]) ** 2),
    "copy from": lambda z, y: torch.zeros(7, dtype=torch.long).copy_(y),
    "write from": lambda z, y: torch.zeros(7, dtype=torch.long).__setitem__(slice(None), y),
    "write from by index": lambda z, y: torch.zeros(7, C).__setitem__((ROWS, y), 1.0),
    "write into": lambda z, y: written_into(z, y, lambda t: t.__setitem__(0, 1)),
    "add_": lambda z, y: written_into(z, y, lambda t: t.add_(1)),
    "zero_": lambda z, y: written_into(z, y, lambda t: t.zero_()),
    "copy_ into": lambda z, y: written_into(z, y, lambda t: t.copy_(torch.zeros(7))),
    "set data": lambda z, y: written_into(z, y, lambda t: setattr(t, "data", torch.zeros(7))),
    "requires_grad_": lambda z, y: y.float().requires_grad_(),
    "set requires_grad": lambda z, y: setattr(y.float(), "requires_grad", True),
    "out=": lambda z, y: torch.add(torch.ones(7, dtype=torch.long), 1, out=copy.deepcopy(y)),
    "out= of a selection": lambda z, y: torch.index_select(y.float(), 0, ROWS, out=torch.empty(7)),
    "out= of a mask": lambda z, y: torch.masked_select(y.float(), ROWS > 2, out=torch.empty(4)),
    "parameter": lambda z, y: nn.Parameter(y, requires_grad=False),
    "data_ptr": lambda z, y: y.data_ptr(),
    "storage": lambda z, y: y.untyped_storage().tolist(),
    "dlpack": lambda z, y: torch.from_dlpack(y),
    "numpy dlpack": lambda z, y: np.from_dlpack(y),
    "cuda interface": lambda z, y: y.__cuda_array_interface__,
    "as_subclass": lambda z, y: y.as_subclass(torch.Tensor),
    "as_tensor": lambda z, y: torch.as_tensor(y, dtype=torch.float32),
    "tensor": lambda z, y: torch.tensor(y),
    "LongTensor": lambda z, y: torch.LongTensor(y),
    "numpy ufunc": lambda z, y: np.add(y, 1),
    "scripted": lambda z, y: torch.jit.script(margin)(z, y),
    "scripted cross-entropy": lambda z, y: torch.jit.script(cross_entropy)(z, y),
    "scripted module": lambda z, y: torch.jit.script(nn.CrossEntropyLoss())(z, y),
    "traced": lambda z, y: torch.jit.trace(lambda a, b: a[ROWS, b], (z, make()[0][0]), check_trace=False)(z, y),
    "tracing": lambda z, y: torch.jit.trace(lambda a, b: a[ROWS, b], (z, y)),
    "vmap": lambda z, y: torch.vmap(lambda a, b: F.cross_entropy(a, b))(z, y),
    "vmap own": lambda z, y: torch.vmap(lambda a, b: -a.log_softmax(0).gather(0, b[None]))(z, y),
    "aten": lambda z, y: torch.ops.aten.nll_loss(z, y),
    "aten cross_entropy": lambda z, y: torch.ops.aten.cross_entropy_loss(z, y),
    "own autograd function": OwnCrossEntropy.apply,
    "own autograd function, late": lambda z, y: PassThrough.apply(z.detach().requires_grad_(), y).backward(),
}


COPIES = {
    "expand": lambda y: y[:, None].expand(7, C),
    "expand_as": lambda y: y[:, None].expand_as(torch.zeros(7, C)),
    "broadcast_to": lambda y: torch.broadcast_to(y[:, None], (7, C)),
    "repeat": lambda y: y[:, None].repeat(1, C),
    "tile": lambda y: torch.tile(y[:, None], (1, C)),
    "repeat_interleave": lambda y: y.repeat_interleave(C).view(7, C),
    "repeat_interleave by numbers": lambda y: y.repeat_interleave(torch.full((7,), C)).view(7, C),
    "index": lambda y: y[ROWS.repeat_interleave(C)].view(7, C),
    "index list": lambda y: y[ROWS.repeat_interleave(C).tolist()].view(7, C),
    "index array": lambda y: y[ROWS.repeat_interleave(C).numpy()].view(7, C),
    "index pair": lambda y: y[:, None][ROWS[:, None], torch.zeros(C, dtype=torch.long)],
    "index_select": lambda y: y.index_select(0, ROWS.repeat_interleave(C)).view(7, C),
    "stack": lambda y: torch.stack([y] * C, 1),
    "stack of copies": lambda y: torch.stack([y.clone() for _ in range(C)], 1),
    "stack of deep copies": lambda y: torch.stack([copy.deepcopy(y) for _ in range(C)], 1),
    "stack of rolls": lambda y: torch.stack([y.roll(7) for _ in range(C)], 1),
    "cat of copies": lambda y: torch.cat([y[:, None].detach() for _ in range(C)], 1),
    "cat of pieces": lambda y: torch.cat([piece for piece in y.chunk(7) for _ in range(C)]).view(7, C),
    "cat of samples": lambda y: torch.stack([label for label in y for _ in range(C)]).view(7, C),
    "smoothed": lambda y: SoftTarget.smooth(y[:, None].expand(7, C), 0.0 if y.label_smoothing else 0.1),
    "mixed": lambda y: SoftTarget.mix([y[:, None].expand(7, C)], [torch.tensor(1.0)]),
    "cast": lambda y: y[:, None].expand(7, C).int().contiguous(),
    "pickled": lambda y: pickle.loads(pickle.dumps(y[:, None].expand(7, C))),
    "parts": lambda y: y[:, None].expand(7, C).unbind(0)[0].expand(7, C),
}


@pytest.mark.parametrize("smooth", [0.0, 0.1])
@pytest.mark.parametrize("name", COPIES)
def test_a_one_hot_in_disguise_is_refused(name, smooth):
    classes = torch.arange(C).repeat(7, 1)
    y = SoftTarget.smooth(make()[2], smooth)
    for compare in (torch.eq, torch.ne, torch.Tensor.eq, lambda a, b: a == b, lambda a, b: b != a):
        with pytest.raises(SoftTargetError, match=r"a one-hot in disguise.*hard_labels\(y\)"):
            compare(COPIES[name](y), classes)


MATCHES = {
    # TorchScript lets the call fail, but loses the message
    "scripted": "TorchScript interpreter",
    "scripted cross-entropy": "TorchScript interpreter",
    "traced": "TorchScript interpreter",
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning", "ignore:To copy construct:UserWarning"
)
def test_refused(name, grad):
    z, (_, _, y) = make_logits(7, C), make()
    before = [(label.clone(), weight.clone()) for label, weight in y.components]
    grad = grad or name.endswith("late")  # with no gradient nothing was computed
    with torch.set_grad_enabled(grad), pytest.raises(RuntimeError, match=MATCHES.get(name, "SoftTarget")):
        REFUSED[name](z, y)
    for (label, weight), (label_before, weight_before) in zip(y.components, before, strict=True):
        assert torch.equal(label, label_before)
        assert torch.equal(weight, weight_before)


@pytest.mark.parametrize("name", ["scripted", "scripted cross-entropy", "traced"])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_what_fails_in_torchscript_works_with_hard_labels(name):
    REFUSED[name](make_logits(7, C), make()[2].hard)


def smoothed():
    return SoftTarget.smooth(make()[2], 0.1)


ANY_LOSS = 'Use mixed_loss(criterion, logits, y) or labels="sample" in a loss, hard_labels(y) in a metric.'
DENSE = 'Use soft_labels(y, num_classes) or labels="sample" in a loss, hard_labels(y) in a metric.'
MESSAGES = {
    "mixed": (lambda: make()[2].clamp(0), f"`clamp` on a SoftTarget is not known to be right. {ANY_LOSS}"),
    "one_hot": (lambda: F.one_hot(make()[2], C), f"`one_hot` on a SoftTarget is not known to be right. {DENSE}"),
    "scatter": (
        lambda: torch.zeros(7, C).scatter_(1, make()[2][:, None], 1.0),
        f"`scatter_` on a SoftTarget is not known to be right. {DENSE}",
    ),
    "cast": (
        lambda: make()[2].float().clamp(0),
        '`clamp` on a SoftTarget is not known to be right. Use labels="sample" in a loss, hard_labels(y) in a metric.',
    ),
    "smoothed": (
        lambda: smoothed().clamp(0),
        "`clamp` on a SoftTarget with label smoothing is not known to be right. Use F.cross_entropy(logits, y) or "
        "soft_labels(y, num_classes) in a loss, hard_labels(y) in a metric.",
    ),
    "taught": (
        lambda: SoftTarget.distil(smoothed(), torch.zeros(7, C)).clamp(0),
        "`clamp` on a SoftTarget with label smoothing and a teacher is not known to be right. Use "
        "F.cross_entropy(logits, y) in a loss, hard_labels(y) in a metric.",
    ),
    "one-hot": (
        lambda: F.cross_entropy(torch.zeros(7, C), SoftTarget.mix([ONE_HOT], [torch.tensor(1.0)]).float()),
        "`cross_entropy` on a SoftTarget needs integer labels, but got torch.float32. Make them float in the data set: "
        "y.float().",
    ),
    "smoothed one-hot": (
        lambda: SoftTarget.smooth(ONE_HOT, 0.1).float(),
        "`float` on a SoftTarget with label smoothing cannot cast to floating point. Make them float in the data set: "
        "y.float().",
    ),
}
ONE_HOT = F.one_hot(torch.arange(7) % C, C)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_message_says_what_on_what_and_only_ways_that_apply(name):
    use, message = MESSAGES[name]
    with pytest.raises(SoftTargetError, match=f"^{re.escape(message)}$"):
        use()


def test_the_ways_out_work():
    z, (_, _, y) = make_logits(7, C), make()
    assert mixed_loss(nn.MultiMarginLoss(), z, y).ndim == 0
    assert soft_labels(y, C).shape == soft_labels(smoothed(), C).shape == (7, C)
    for target in (y, y.float(), smoothed(), SoftTarget.distil(y, z)):
        assert type(hard_labels(target)) is torch.Tensor
        assert torch.equal(hard_labels(target), target.hard)
    plain = torch.arange(7)
    assert hard_labels(plain) is plain


def test_equality_raises_instead_of_being_false():
    assert issubclass(SoftTargetError, RuntimeError)
    with pytest.raises(SoftTargetError, match="__eq__"):
        make()[2] == 3  # noqa: B015


def test_as_tensor_returns_the_soft_target_itself():
    _, _, target = make()
    assert torch.as_tensor(target) is target


@pytest.fixture
def one_process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("name", ["all_reduce", "broadcast", "all_gather"])
def test_collectives_are_refused(one_process_group, name):
    _, _, y = make()
    call = {
        "all_reduce": lambda: dist.all_reduce(y),
        "broadcast": lambda: dist.broadcast(y, 0),
        "all_gather": lambda: dist.all_gather([torch.zeros(7, dtype=torch.long)], y),
    }[name]
    with pytest.raises(SoftTargetError, match=name):
        call()
