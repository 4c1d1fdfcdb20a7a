"""Every loss that is allowed equals the enumerated expectation over the labels, in value and gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_tricks import SoftTarget, SoftTargetError
from tests.soft_target.targets import C, expectation, make, make_logits

REDUCTIONS = ["mean", "sum", "none"]


def assert_equal_with_gradient(loss, expected, *inputs):
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    gradients = torch.autograd.grad(loss.sum(), inputs, retain_graph=True)
    expected_gradients = torch.autograd.grad(expected.sum(), inputs, retain_graph=True)
    for got, want in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def expected_class_loss(loss_function, logits, labels, weights, reduction, class_weights, ignore_index, smoothing):
    kwargs = {"weight": class_weights, "ignore_index": ignore_index, "reduction": "none"}
    if loss_function is F.cross_entropy:
        kwargs["label_smoothing"] = smoothing
    losses = expectation(lambda label: loss_function(logits, label, **kwargs), labels, weights)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    table = torch.ones(C) if class_weights is None else class_weights
    counted = sum(
        w * torch.where(label == ignore_index, 0.0, table[label.clamp(0)])
        for label, w in zip(labels, weights, strict=True)
    )
    return losses.sum() / counted.sum()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (1,), (2,), (7,), (3, 4, 2)])
@pytest.mark.parametrize(
    ("weighted", "ignore_index", "smoothing"),
    [(False, -100, 0.0), (True, -100, 0.0), (False, 2, 0.0), (True, -1, 0.0), (False, -100, 0.1), (True, 2, 0.3)],
)
@pytest.mark.parametrize("loss_function", [F.cross_entropy, F.nll_loss])
def test_class_losses(loss_function, weighted, ignore_index, smoothing, shape, reduction):
    labels, weights, _ = make(shape)
    if ignore_index == -1 and shape:
        labels[1][0] = -1
    if ignore_index == 2:  # not everything may be ignored
        labels[0] = torch.where(labels[0] == 2, 1, labels[0])
    target = SoftTarget.mix(labels, weights)
    class_weights = torch.linspace(0.5, 2, C) if weighted else None
    logits = make_logits(*shape[:1], C, *shape[1:])
    scores = logits.log_softmax(min(len(shape), 1)) if loss_function is F.nll_loss else logits
    kwargs = {"label_smoothing": smoothing} if loss_function is F.cross_entropy else {}
    loss = loss_function(scores, target, class_weights, ignore_index=ignore_index, reduction=reduction, **kwargs)
    expected = expected_class_loss(
        loss_function, scores, labels, weights, reduction, class_weights, ignore_index, smoothing
    )
    assert_equal_with_gradient(loss, expected, logits)


def test_class_losses_as_modules_and_by_keyword():
    labels, weights, target = make()
    logits = make_logits(7, C)
    expected = expectation(lambda label: F.cross_entropy(logits, label, reduction="none"), labels, weights).mean()
    assert_equal_with_gradient(nn.CrossEntropyLoss()(logits, target), expected, logits)
    assert_equal_with_gradient(nn.NLLLoss()(logits.log_softmax(1), target), expected, logits)
    assert_equal_with_gradient(F.cross_entropy(target=target, input=logits), expected, logits)


def test_everything_ignored_is_nan_as_in_torch():
    target = SoftTarget.mix([torch.tensor([-100, -100])], [torch.ones(2)])
    assert F.cross_entropy(torch.zeros(2, C), target).isnan()
    assert F.cross_entropy(torch.zeros(0, C), target[:0]).isnan()


def test_a_component_of_weight_zero_counts_for_nothing():
    logits = make_logits(1, C)
    target = SoftTarget.mix([torch.tensor([0]), torch.tensor([2])], [torch.ones(1), torch.zeros(1)])
    assert_equal_with_gradient(F.cross_entropy(logits, target), F.cross_entropy(logits, torch.tensor([0])), logits)


ELEMENTWISE = {
    "bce": (F.binary_cross_entropy, {}),
    "bce weight": (F.binary_cross_entropy, {"weight": torch.linspace(0.5, 2, 7)}),
    "bce logits": (F.binary_cross_entropy_with_logits, {}),
    "bce logits weight": (
        F.binary_cross_entropy_with_logits,
        {"weight": torch.linspace(0.5, 2, 7), "pos_weight": torch.tensor(3.0)},
    ),
    "mse": (F.mse_loss, {}),
    "mse weight": (F.mse_loss, {"weight": torch.linspace(0.5, 2, 7)}),
    "l1": (F.l1_loss, {}),
    "smooth l1": (F.smooth_l1_loss, {"beta": 0.7}),
    "smooth l1 zero": (F.smooth_l1_loss, {"beta": 0.0}),
    "huber": (F.huber_loss, {"delta": 0.6}),
    "huber weight": (F.huber_loss, {"delta": 0.6, "weight": torch.linspace(0.5, 2, 7)}),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses_after_a_cast(name, reduction):
    loss_function, kwargs = ELEMENTWISE[name]
    labels, weights, _ = make(num_classes=2)
    if reduction != "none":  # one weight for the whole batch, so that the reduced losses can be weighted
        weights = [torch.tensor(w) for w in (0.5, 0.3, 0.2)]
    target = SoftTarget.mix(labels, weights)
    scores = make_logits(7)
    given = scores.sigmoid() if loss_function is F.binary_cross_entropy else scores
    loss = loss_function(given, target.float(), reduction=reduction, **kwargs)
    expected = expectation(
        lambda label: loss_function(given, label.float(), reduction=reduction, **kwargs), labels, weights
    )
    assert_equal_with_gradient(loss, expected, scores)


def test_elementwise_losses_as_modules_on_columns():
    labels, weights, target = make((7, 1), num_classes=2)
    scores = make_logits(7, 1)
    expected = expectation(
        lambda label: F.binary_cross_entropy_with_logits(scores, label.float(), reduction="none"), labels, weights
    )
    assert_equal_with_gradient(nn.BCEWithLogitsLoss()(scores, target.float()), expected.mean(), scores)


def test_mse_is_not_the_loss_of_the_mean_label():
    target = SoftTarget.mix([torch.tensor([0]), torch.tensor([4])], [torch.tensor([0.5])] * 2)
    assert F.mse_loss(torch.tensor([2.0]), target.float()) == 4.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32_and_returned_as_it_came(dtype):
    labels, weights, target = make(num_classes=2)
    logits = make_logits(7, 300).detach().to(dtype)
    expected = expectation(lambda label: F.cross_entropy(logits.float(), label, reduction="none"), labels, weights)
    loss = F.cross_entropy(logits, target)
    assert loss.dtype == dtype
    assert loss == expected.mean().to(dtype)
    loss = F.mse_loss(logits[:, 0], target.to(dtype))
    assert loss.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16])
@pytest.mark.parametrize("loss_function", [F.l1_loss, F.mse_loss, F.smooth_l1_loss])
def test_the_wider_dtype_is_that_of_the_result(loss_function, dtype):
    """Integers are what a hand-made mean error of predicted classes has."""
    labels, weights, target = make()
    predicted = make_logits(7, C).argmax(1).to(dtype)
    loss = loss_function(predicted, target.float())
    expected = expectation(lambda label: loss_function(predicted, label.float(), reduction="none"), labels, weights)
    assert loss.dtype == loss_function(predicted, labels[0].float()).dtype == torch.float32
    torch.testing.assert_close(loss, expected.mean(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_the_dtype_and_the_precision_are_those_of_hard_labels(dtype):
    labels, weights, target = make()
    logits = make_logits(7, C).detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(logits, target)
        hard = F.cross_entropy(logits, labels[0])
    expected = expectation(lambda label: F.cross_entropy(logits.float(), label, reduction="none"), labels, weights)
    assert loss.dtype == hard.dtype
    torch.testing.assert_close(loss, expected.mean(), rtol=1e-6, atol=1e-6)


def test_smoothing_attached_is_the_criterions_smoothing():
    labels, weights, target = make()
    logits = make_logits(7, C)
    expected = F.cross_entropy(logits, target, label_smoothing=0.2)
    assert_equal_with_gradient(F.cross_entropy(logits, SoftTarget.smooth(target, 0.2)), expected, logits)
    assert_equal_with_gradient(F.nll_loss(logits.log_softmax(1), SoftTarget.smooth(target, 0.2)), expected, logits)
    # spread over the others: q_y = 1 − ε, ε/(K − 1) elsewhere
    one_hot = sum(w[:, None] * F.one_hot(label, C) for label, w in zip(labels, weights, strict=True))
    dense = one_hot * 0.8 + (1 - one_hot) * 0.2 / (C - 1)
    smoothed = SoftTarget.smooth(target, 0.2, spread="others")
    assert_equal_with_gradient(F.cross_entropy(logits, smoothed), F.cross_entropy(logits, dense), logits)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(), (7,), (3, 4, 2)])
@pytest.mark.parametrize("spread", ["all", "others"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_labels_that_are_smoothed_and_not_mixed(dtype, spread, shape, weighted, reduction):
    """Each position by hand: −Σ_c q_c · weight_c · log p_c."""
    epsilon, ignored = 0.2, 2
    (label,), _, _ = make(shape, k=1, seed=3)
    logits = make_logits(*shape[:1], C, *shape[1:]).detach().to(dtype)
    class_weights = torch.linspace(0.5, 2, C) if weighted else torch.ones(C)
    rest = epsilon / C if spread == "all" else epsilon / (C - 1)
    log_p = logits.double().log_softmax(min(len(shape), 1)).movedim(min(len(shape), 1), -1).reshape(-1, C)
    losses, counted = [], 0.0
    for y, row in zip(label.flatten().tolist(), log_p, strict=True):
        q = torch.full((C,), rest, dtype=torch.float64)
        q[y] = 1 - epsilon + (rest if spread == "all" else 0)
        losses.append(torch.zeros(()).double() if y == ignored else -(q * class_weights * row).sum())
        counted += 0.0 if y == ignored else float(class_weights[y])
    losses = torch.stack(losses).reshape(shape)
    expected = losses if reduction == "none" else losses.sum() / (counted if reduction == "mean" else 1)
    loss = F.cross_entropy(
        logits,
        SoftTarget.smooth(label.to(torch.int32), epsilon, spread=spread),
        class_weights.to(dtype) if weighted else None,
        ignore_index=ignored,
        reduction=reduction,
    )
    tolerance = 1e-6 if dtype == torch.float32 else 4e-3  # a bfloat16 keeps 8 bits
    torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=1e-6)
    assert loss.dtype == dtype


def test_smoothing_twice_names_both():
    target = SoftTarget.smooth(torch.tensor([1, 2]), 0.1)
    with pytest.raises(SoftTargetError, match=r"LabelSmoothing \(label_smoothing=0.1\) .*label_smoothing=0.2"):
        F.cross_entropy(torch.zeros(2, C), target, label_smoothing=0.2)
    with pytest.raises(SoftTargetError, match="smoothed already"):
        SoftTarget.smooth(target, 0.3)


def naive_distillation(z, r, temperature):
    teacher = (r / temperature).softmax(1)
    return -(temperature**2) * (teacher * (z / temperature).log_softmax(1)).sum(1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(7,), (3, 4, 2)])
def test_an_attached_teacher_adds_its_loss(shape, reduction):
    _, _, target = make(shape)
    z, r = make_logits(shape[0], C, *shape[1:]), make_logits(shape[0], C, *shape[1:], seed=5).detach()
    taught = SoftTarget.distil(target, r, temperature=3.0, weight=0.5)
    terms = 0.5 * naive_distillation(z, r, 3.0)
    terms = {"mean": terms.mean(), "sum": terms.sum(), "none": terms}[reduction]
    expected = F.cross_entropy(z, target, reduction=reduction) + terms
    assert_equal_with_gradient(F.cross_entropy(z, taught, reduction=reduction), expected, z)
    assert_equal_with_gradient(F.nll_loss(z.log_softmax(1), taught, reduction=reduction), expected, z)


def test_teachers_ignored_labels_kl_and_several():
    z, r = make_logits(4, C), make_logits(4, C, seed=5).detach()
    labels = torch.tensor([1, -100, 2, 3])
    taught = SoftTarget.distil(SoftTarget.distil(labels, r, temperature=2.0), r, temperature=5.0, weight=0.25, kl=True)
    keep = labels != -100
    entropy = -((r / 5).softmax(1) * (r / 5).log_softmax(1)).sum(1)
    terms = naive_distillation(z, r, 2.0) + 0.25 * (naive_distillation(z, r, 5.0) - 25 * entropy)
    expected = F.cross_entropy(z, labels) + terms[keep].mean()
    assert_equal_with_gradient(F.cross_entropy(z, taught), expected, z)
    assert taught.teachers == ((2.0, 1.0, False), (5.0, 0.25, True))


def test_a_student_that_disagrees_with_the_teacher_in_classes():
    taught = SoftTarget.distil(torch.tensor([0, 1]), torch.zeros(2, 7))
    with pytest.raises(ValueError, match=r"\(5 classes\).*\(7 classes\)"):
        F.cross_entropy(torch.zeros(2, C), taught)


def test_labels_that_do_not_fit_the_logits():
    _, _, target = make()
    with pytest.raises(ValueError, match=r"\(K, 6\) for logits of shape \(6, 5\).*\(3, 7\)"):
        F.cross_entropy(torch.zeros(6, C), target)


def test_second_derivatives():
    _, _, target = make()
    logits = make_logits(7, C).double().detach().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda z: F.cross_entropy(z, target.to(z.device)), logits)


def test_functional_transforms_of_the_logits():
    _, _, target = make()
    logits = make_logits(7, C).detach()
    gradient = torch.func.grad(lambda z: F.cross_entropy(z, target))(logits)
    logits.requires_grad_()
    torch.testing.assert_close(gradient, torch.autograd.grad(F.cross_entropy(logits, target), logits)[0])


REFUSED_CALLS = {
    "integers in bce": (lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], y), "y.float()"),
    "integers in mse": (lambda z, y: F.mse_loss(z[:, 0], y), "y.float()"),
    "floats in cross_entropy": (lambda z, y: F.cross_entropy(z, y.float()), "needs integer labels"),
    "size_average": (lambda z, y: F.cross_entropy(z, y, size_average=True), "reduction="),
    "reduce": (lambda z, y: F.mse_loss(z[:, 0], y.float(), reduce=False), "reduction="),
    "l1 weight": (lambda z, y: F.l1_loss(z[:, 0], y.float(), weight=torch.ones(7)), "weight="),
    "soft logits": (lambda z, y: F.cross_entropy(y.float(), y), "cross_entropy"),
    "soft input": (lambda z, y: F.mse_loss(y.float(), z[:, 0]), "mse_loss"),
    "soft weight": (lambda z, y: F.mse_loss(z[:, 0], y.float(), weight=y.float()), "mse_loss"),
}


@pytest.mark.parametrize("name", REFUSED_CALLS)
def test_calls_of_allowed_losses_that_are_refused(name):
    call, match = REFUSED_CALLS[name]
    with pytest.raises(SoftTargetError, match=match):
        call(make_logits(7, C), make()[2])
