"""The loss functions against the formulas written out class by class."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import distillation_loss, soft_cross_entropy


def naive_soft_cross_entropy(z, labels, weights, class_weights, ignore_index, epsilon, spread, reduction):
    """One position, one component and one class after the other, in double precision."""
    dim = 0 if z.ndim == 1 else 1
    rows = z.double().movedim(dim, -1).reshape(-1, z.shape[dim])
    num_classes = rows.shape[1]
    losses, counted = [], 0.0
    for i, row in enumerate(rows):
        loss = row.sum() * 0
        for label_row, weight_row in zip(labels, weights, strict=True):
            label, weight = label_row.flatten()[i].item(), weight_row.flatten()[i].double()
            if label == ignore_index:
                continue
            for c in range(num_classes):
                q = 1 - epsilon if c == label else 0.0
                if spread == "all":
                    q += epsilon / num_classes
                elif c != label:
                    q = epsilon / (num_classes - 1)
                # with class weights torch weighs each class's share by that class
                loss = loss - weight * q * class_weights[c] * row.log_softmax(0)[c]
            counted = counted + weight * class_weights[label]
        losses.append(loss)
    losses = torch.stack(losses)
    if reduction == "none":
        return losses.reshape(labels[0].shape)
    return losses.sum() if reduction == "sum" else losses.sum() / counted


@st.composite
def cases(draw):
    shape = draw(st.sampled_from([(), (1,), (2,), (7,), (2, 3), (1, 3, 2)]))
    k, num_classes = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    z = 3 * torch.randn(*shape[:1], num_classes, *shape[1:], generator=generator)
    labels = torch.randint(num_classes, (k, *shape), generator=generator)
    weights = torch.rand(k, *shape, generator=generator)
    class_weights = torch.rand(num_classes, generator=generator) + 0.5 if draw(st.booleans()) else None
    ignore_index = draw(st.sampled_from([-100, 255, 1]))
    if ignore_index != -100 and shape and k > 1:
        labels[1, 0] = ignore_index
    spread = draw(st.sampled_from(["all", "others"]))
    # how torch mixes class weights into the spread over others is nobody's convention
    epsilon = 0.0 if class_weights is not None and spread == "others" else draw(st.sampled_from([0.0, 0.1, 0.4]))
    return z, labels, weights / weights.sum(0), class_weights, ignore_index, epsilon, spread


@given(cases(), st.sampled_from(["mean", "sum", "none"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_soft_cross_entropy_is_the_formula(case, reduction, autocast):
    z, labels, weights, class_weights, ignore_index, epsilon, spread = case
    z = z.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = soft_cross_entropy(
            z,
            labels,
            list(weights),
            class_weights=class_weights,
            ignore_index=ignore_index,
            label_smoothing=epsilon,
            spread=spread,
            reduction=reduction,
        )
    table = torch.ones(10) if class_weights is None else class_weights
    expected = naive_soft_cross_entropy(z, labels, weights, table, ignore_index, epsilon, spread, reduction)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    if not expected.isnan().any():
        gradient, expected_gradient = (torch.autograd.grad(out.sum(), z)[0] for out in (loss, expected))
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@given(
    shape=st.sampled_from([(4,), (1, 4), (7, 2), (3, 5, 2, 1)]),
    temperature=st.sampled_from([0.5, 1.0, 4.0, 20.0]),
    weight=st.sampled_from([0.0, 0.5, 1.0]),
    kl=st.booleans(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    teachers=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_distillation_loss_is_the_formula(shape, temperature, weight, kl, reduction, teachers):
    torch.manual_seed(0)
    z, rs = (3 * torch.randn(shape)).requires_grad_(), [3 * torch.randn(shape) for _ in range(teachers)]
    dim = 0 if len(shape) == 1 else 1
    loss = distillation_loss(
        z, rs if teachers > 1 else rs[0], temperature=temperature, weight=weight, kl=kl, reduction=reduction
    )
    p = sum((r.double() / temperature).softmax(dim) for r in rs) / teachers
    terms = -(p * (z.double() / temperature).log_softmax(dim)).sum(dim)
    terms = terms + (p * p.log()).sum(dim) if kl else terms
    terms = weight * temperature**2 * terms
    expected = {"mean": terms.mean(), "sum": terms.sum(), "none": terms}[reduction]
    rounding = 2e-7 * max(1, weight * temperature**2) * (loss.numel() if reduction != "sum" else terms.numel())
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=rounding)
    gradient, expected_gradient = (torch.autograd.grad(out.sum(), z)[0] for out in (loss, expected))
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_the_kl_is_zero_when_they_agree_and_the_gradient_is_that_of_the_cross_entropy():
    z, r = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5)
    assert distillation_loss(z, z.detach(), kl=True) == 0
    gradients = [torch.autograd.grad(distillation_loss(z, r, kl=kl), z)[0] for kl in (True, False)]
    torch.testing.assert_close(*gradients)


def test_a_certain_teacher():
    z, r = torch.tensor([[0.0, -torch.inf, 1.0]]), torch.tensor([[2.0, -torch.inf, 0.0]])
    assert distillation_loss(z, r).isfinite()
    assert distillation_loss(z, z, kl=True) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    z, r = torch.randn(4, 300).to(dtype), torch.randn(4, 300).to(dtype)
    loss = distillation_loss(z, r)
    assert loss == distillation_loss(z.float(), r.float()).to(dtype)
    labels, weights = torch.randint(300, (2, 4)), torch.full((2, 4), 0.5)
    loss = soft_cross_entropy(z, labels, weights)
    assert loss.dtype == dtype
    assert loss == soft_cross_entropy(z.float(), labels, weights).to(dtype)


def test_one_component_of_weight_one_is_cross_entropy_and_integers_of_any_width_serve():
    z, y = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    for dtype in (torch.int64, torch.int32, torch.uint8):
        torch.testing.assert_close(soft_cross_entropy(z, [y.to(dtype)], [torch.ones(4)]), F.cross_entropy(z, y))


def test_class_weights_may_be_learned():
    class_weights = torch.ones(3, requires_grad=True)
    soft_cross_entropy(
        torch.randn(2, 3), torch.tensor([[0, 1]]), torch.ones(1, 2), class_weights=class_weights, reduction="sum"
    ).backward()
    assert class_weights.grad[2] == 0
    assert class_weights.grad[0] > 0


Z, Y, W = torch.zeros(2, 3), torch.tensor([[0, 1]]), torch.ones(1, 2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: soft_cross_entropy(Z, Y[:, :1], W), r"\(K, 2\) for logits of shape \(2, 3\), but got \(1, 1\)"),
        (lambda: soft_cross_entropy(Z, Y, W[:, :1]), r"\(1, 2\) and \(1, 1\)"),
        (lambda: soft_cross_entropy(torch.tensor(1.0), Y, W), "got a scalar"),
        (
            lambda: soft_cross_entropy(Z, Y, W, label_smoothing=1.0),
            "at least 0 and below 1, but got 1.0",
        ),
        (
            lambda: soft_cross_entropy(Z, Y, W, label_smoothing=0.7, spread="others"),
            "3 classes and label_smoothing=0.7",
        ),
        (lambda: soft_cross_entropy(Z[:, :1], Y * 0, W, spread="others"), "at least 2 classes"),
        (lambda: soft_cross_entropy(Z, Y, W, spread="wide"), "spread to be one of 'all', 'others', but got 'wide'"),
        (lambda: soft_cross_entropy(Z, Y, W, reduction="max"), "but got 'max'"),
        (lambda: soft_cross_entropy(Z, Y, W, class_weights=torch.ones(4)), r"3 classes, but got shape \(4,\)"),
        (lambda: distillation_loss(Z, Z, reduction="max"), "but got 'max'"),
        (lambda: distillation_loss(Z, torch.zeros(2, 4)), r"\(2, 3\) \(3 classes\) and \(2, 4\) \(4 classes\)"),
        (lambda: distillation_loss(Z, Z, temperature=0.0), "temperature to be above 0, but got 0.0"),
        (lambda: distillation_loss(Z, Z, weight=-1.0), "weight to be at least 0, but got -1.0"),
        (lambda: distillation_loss(Z, []), "teachers whose logits have one shape"),
        (lambda: distillation_loss(Z, [Z, Z[:1]]), "teachers whose logits have one shape"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize(
    "call",
    [lambda z: soft_cross_entropy(z, Y, W), lambda z: distillation_loss(z, Z), lambda z: distillation_loss(Z, z)],
)
def test_logits_that_are_not_floating(call):
    with pytest.raises(TypeError, match=r"floating-point logits, but got torch.int64"):
        call(torch.ones(2, 3, dtype=torch.long))
