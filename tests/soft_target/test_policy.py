"""Structure operations act on every component, casts on the labels alone; comparison sees the dominant labels."""

import pytest
import torch
import torch.nn.functional as F

from lightning_tricks import SoftTarget, SoftTargetError
from tests.soft_target.targets import C, assert_same_components, make, make_logits

MASK = torch.tensor([True, False, True, True, False, False, True])
STRUCTURE = {
    "int": lambda t: t[3],
    "slice": lambda t: t[1:4],
    "step": lambda t: t[::2],
    "none": lambda t: t[None],
    "ellipsis": lambda t: t[..., None],
    "mask": lambda t: t[MASK],
    "index": lambda t: t[torch.tensor([5, 0, 0])],
    "list": lambda t: t[[6, 1]],
    "pair": lambda t: t.view(7, 1)[2:, 0],
    "view": lambda t: t.view(1, -1),
    "view size": lambda t: t.view(torch.Size([7, 1])),
    "reshape": lambda t: t.reshape(7, 1),
    "torch.reshape": lambda t: torch.reshape(t, (1, 7)),
    "flatten": lambda t: t.view(1, 7).flatten(),
    "torch.flatten": lambda t: torch.flatten(t.view(1, 7)),
    "ravel": lambda t: t.view(7, 1).ravel(),
    "squeeze": lambda t: t.view(7, 1).squeeze(1),
    "torch.squeeze": lambda t: torch.squeeze(t.view(1, 7)),
    "unsqueeze": lambda t: t.unsqueeze(-1),
    "expand": lambda t: t.view(1, -1).expand(3, 7),
    "expand_as": lambda t: t.view(1, -1).expand_as(torch.zeros(3, 7)),
    "view_as": lambda t: t.view_as(torch.zeros(7, 1)),
    "permute": lambda t: t.expand(2, 7).permute(1, 0),
    "transpose": lambda t: t.expand(2, 7).transpose(0, 1),
    "T": lambda t: t.expand(2, 7).T,
    "repeat": lambda t: t.repeat(2),
    "repeat_interleave": lambda t: t.repeat_interleave(2),
    "torch.repeat_interleave": lambda t: torch.repeat_interleave(t, 3, dim=0),
    "roll": lambda t: t.roll(2, 0),
    "torch.roll": lambda t: torch.roll(t, -1),
    "flip": lambda t: t.flip(0),
    "unbind": lambda t: t.unbind(0),
    "chunk": lambda t: t.chunk(3),
    "torch.chunk": lambda t: torch.chunk(t, 2),
    "split": lambda t: t.split(3),
    "torch.split": lambda t: torch.split(t, [2, 5]),
    "narrow": lambda t: t.narrow(0, 2, 3),
    "select": lambda t: t.select(0, 1),
    "index_select": lambda t: t.index_select(0, torch.tensor([2, 2, 1])),
    "masked_select": lambda t: t.masked_select(MASK),
    "iteration": lambda t: tuple(t),
    "cat": lambda t: torch.cat([t[:2], t]),
    "concat": lambda t: torch.concat((t, t), dim=-1),
    "stack": lambda t: torch.stack([t, t], dim=1),
    "clone": lambda t: t.clone(),
    "detach": lambda t: t.detach(),
    "contiguous": lambda t: t.expand(2, 7).contiguous(),
    "data": lambda t: t.data,
}


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("name", STRUCTURE)
def test_structure_acts_on_every_component(name, k):
    operation = STRUCTURE[name]
    labels, weights, target = make(k=k)
    got, label_parts, weight_parts = operation(target), [operation(t) for t in labels], [operation(t) for t in weights]
    if isinstance(got, SoftTarget):
        got, label_parts, weight_parts = [got], [[p] for p in label_parts], [[p] for p in weight_parts]
    assert len(got) == len(label_parts[0])
    for i, piece in enumerate(got):
        assert_same_components(piece, [p[i] for p in label_parts], [p[i] for p in weight_parts])


@pytest.mark.parametrize(
    ("named", "plain"),
    [
        (lambda t: torch.flatten(input=t.view(1, 7), start_dim=0), lambda t: t),
        (lambda t: torch.index_select(input=t, dim=0, index=torch.tensor([2, 0])), lambda t: t[[2, 0]]),
        (lambda t: torch.clone(input=t), lambda t: t),
    ],
)
def test_the_target_may_be_given_by_its_name(named, plain):
    labels, weights, target = make()
    assert_same_components(named(target), [plain(t) for t in labels], [plain(t) for t in weights])
    assert torch.eq(input=target, other=target.hard).all()


@pytest.mark.parametrize("name", STRUCTURE)
def test_structure_keeps_the_smoothing(name):
    got = STRUCTURE[name](SoftTarget.smooth(make()[2], 0.25, spread="others"))
    pieces = [got] if isinstance(got, SoftTarget) else got
    assert all((p.label_smoothing, p.spread) == (0.25, "others") for p in pieces)


CASTS = {
    "long": (lambda t: t.long(), torch.int64),
    "int": (lambda t: t.int(), torch.int32),
    "float": (lambda t: t.float(), torch.float32),
    "half": (lambda t: t.half(), torch.float16),
    "double": (lambda t: t.double(), torch.float64),
    "bfloat16": (lambda t: t.bfloat16(), torch.bfloat16),
    "to": (lambda t: t.to(torch.float16), torch.float16),
    "to other": (lambda t: t.to(torch.zeros(1)), torch.float32),
    "to keyword": (lambda t: t.to("cpu", dtype=torch.int32, non_blocking=True), torch.int32),
    "type": (lambda t: t.type(torch.float64), torch.float64),
    "type_as": (lambda t: t.type_as(torch.zeros(1)), torch.float32),
    "cpu": (lambda t: t.cpu(), torch.int64),
}


@pytest.mark.parametrize("name", CASTS)
def test_casts_change_the_labels_never_the_weights(name):
    cast, dtype = CASTS[name]
    labels, weights, target = make()
    got = cast(target)
    assert got.dtype == dtype
    assert_same_components(got, [cast(label) for label in labels], weights)


def test_class_257_survives_the_cast_of_a_module_to_bfloat16():
    target = SoftTarget.mix([torch.tensor([257])], [torch.ones(1)])
    assert target.to("cpu", non_blocking=True).hard.item() == 257


def test_type_without_an_argument_is_a_string():
    assert isinstance(make()[2].type(), str)


def test_plain_tensors_take_shape_and_dtype_from_soft_labels():
    _, _, target = make()
    predictions = torch.arange(7).view(7, 1)
    assert torch.equal(predictions.view_as(target), torch.arange(7))
    assert torch.equal(predictions[:1, 0].expand_as(target), torch.zeros(7, dtype=torch.long))
    assert predictions.float().type_as(target).dtype == torch.int64
    assert predictions.float().to(target).dtype == torch.int64


def test_joining_with_plain_labels_counts_them_with_weight_one():
    labels, weights, target = make(k=2)
    plain = torch.tensor([3, 4])
    joined = torch.cat([target, plain])
    zeros = torch.zeros(2)
    assert_same_components(
        joined,
        [torch.cat([labels[0], plain]), torch.cat([labels[1], plain])],
        [torch.cat([weights[0], torch.ones(2)]), torch.cat([weights[1], zeros])],
    )
    logits = make_logits(9, C)
    expected = torch.cat(
        [F.cross_entropy(logits[:7], target, reduction="none"), F.cross_entropy(logits[7:], plain, reduction="none")]
    )
    torch.testing.assert_close(F.cross_entropy(logits, joined, reduction="none"), expected)
    assert torch.equal(torch.stack([plain, target[:2]]).hard, torch.stack([plain, target[:2].hard]))


def test_joining_labels_of_different_kinds_is_refused():
    _, _, target = make()
    for join in (torch.cat, torch.stack):
        with pytest.raises(SoftTargetError, match="joins labels that differ in smoothing"):
            join([SoftTarget.smooth(target, 0.1), target])
    with pytest.raises(SoftTargetError, match="cat"):
        torch.cat([target, torch.zeros(3)])
    with pytest.raises(SoftTargetError, match="cat"):
        torch.cat([target, target], out=torch.zeros(14, dtype=torch.long))


TEACHER_OPERATIONS = {
    "slice": lambda t: t[2:5],
    "mask": lambda t: t[MASK],
    "index": lambda t: t[torch.tensor([5, 0, 0])],
    "flip": lambda t: t.flip(0),
    "repeat_interleave": lambda t: t.repeat_interleave(2, 0),
    "roll": lambda t: t.roll(3, 0),
    "cat": lambda t: torch.cat([t, t[:2]]),
    "clone": lambda t: t.clone(),
    "detach": lambda t: t.detach(),
    "cpu": lambda t: t.cpu(),
    "no-op view": lambda t: t.view(t.shape),
}


@pytest.mark.parametrize("shape", [(7,), (7, 2, 3)])
@pytest.mark.parametrize("name", TEACHER_OPERATIONS)
def test_the_teacher_follows_the_batch_dimension(name, shape):
    operation = TEACHER_OPERATIONS[name]
    _, _, target = make(shape)
    z, r = make_logits(7, C, *shape[1:]), make_logits(7, C, *shape[1:], seed=4).detach()
    chosen_z, chosen_r = z, r
    if name != "no-op view":
        chosen_z, chosen_r = (operation(t.view(7, -1)).reshape(-1, C, *shape[1:]) for t in (z, r))
    got = F.cross_entropy(chosen_z, operation(SoftTarget.distil(target, r)))
    expected = F.cross_entropy(chosen_z, SoftTarget.distil(operation(target), chosen_r))
    torch.testing.assert_close(got, expected)


def test_the_teacher_follows_a_single_sample():
    _, _, target = make()
    z, r = make_logits(7, C), make_logits(7, C, seed=4).detach()
    expected = F.cross_entropy(z, SoftTarget.distil(target, r), reduction="none")[3]
    torch.testing.assert_close(F.cross_entropy(z[3], SoftTarget.distil(target, r)[3]), expected)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (lambda t: t[:, None], "__getitem__"),
        (lambda t: t.view(1, -1), "view"),
        (lambda t: t.unsqueeze(1), "unsqueeze"),
        (lambda t: torch.stack([t, t]), "stack"),
        (lambda t: t.float(), "float"),
        (lambda t: t.to(torch.float16), "to"),
    ],
)
def test_with_a_teacher_reshapes_and_floating_casts_are_refused(operation, name):
    with pytest.raises(SoftTargetError, match=f"`{name}`.*teacher"):
        operation(SoftTarget.distil(make()[2], torch.zeros(7, C)))


def test_rows_of_a_mask_with_a_teacher_are_refused():
    taught = SoftTarget.distil(make((7, 2))[2], torch.zeros(7, C, 2))
    with pytest.raises(SoftTargetError, match=r"`unbind`.*teacher"):
        taught.unbind(0)


def test_with_smoothing_floating_casts_are_refused():
    with pytest.raises(SoftTargetError, match=r"`float`.*label smoothing"):
        SoftTarget.smooth(make()[2], 0.1).float()


COMPARISONS = {
    "==": lambda p, y: p == y,
    "== reversed": lambda p, y: y == p,
    "!=": lambda p, y: p != y,
    "eq": lambda p, y: p.eq(y),
    "torch.eq": lambda p, y: torch.eq(y, p),
    "torch.ne": lambda p, y: torch.ne(p, y),
    "not_equal": lambda p, y: p.not_equal(y),
    "accuracy": lambda p, y: (p == y).float().mean(),
    "view_as": lambda p, y: p.eq(y.view_as(p)),
    "of one shape": lambda p, y: p.eq(y.expand(7).repeat(1)),
    "slice": lambda p, y: p[1:5] == y[1:5],
    "mask": lambda p, y: p[MASK] == y[MASK],
    "flip": lambda p, y: p.flip(0) == y.flip([0]),
    "joined batches": lambda p, y: torch.cat([p, p]) == torch.cat([make()[2], make()[2]]),
    "equal": lambda p, y: torch.tensor(torch.equal(p, y)),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_with_predictions_sees_the_dominant_labels(name, grad):
    _, _, target = make()
    predictions = make_logits(7, C).argmax(1)
    with torch.set_grad_enabled(grad):
        got = COMPARISONS[name](predictions, target)
    assert type(got) is torch.Tensor
    assert torch.equal(got, COMPARISONS[name](predictions, target.hard))


def test_reading_sees_the_dominant_labels():
    _, _, target = make()
    assert target.tolist() == target.hard.tolist()
    assert target[2].item() == target.hard[2].item()
    assert (target.numpy() == target.hard.numpy()).all()
    assert f"{target[0]:d}" == str(target.hard[0].item())
    assert "SoftTarget" in repr(target)
    assert len(target) == 7


def test_metadata():
    _, _, target = make((7, 2))
    assert (target.size(0), target.dim(), target.numel(), target.stride()) == (7, 2, 14, (2, 1))
    assert (target.ndim, target.device.type, target.requires_grad, target.is_cuda) == (2, "cpu", False, False)
    assert not target.is_floating_point()
    assert target.float().is_floating_point()
