"""Labels mixed by hand: what goes in, what is kept of it, and the mean loss of what comes out."""

import copy

import pytest
import torch
import torch.nn.functional as F

from lightning_tricks import Mixup, SoftTarget, soft_cross_entropy
from tests.soft_target.targets import C, assert_same_components, expectation, make, make_logits


@pytest.mark.parametrize(
    "write", [lambda part: part.fill_(0), lambda part: part.numpy().fill(0)], ids=["torch", "numpy"]
)
def test_what_is_written_to_the_components_does_not_reach_the_labels(write):
    target = make()[2]
    logits = make_logits(7, C)
    before = F.cross_entropy(logits, target)
    for labels, weights in (*target.components, *target.detach().components, *copy.copy(target).components):
        write(labels)
        write(weights)
    assert F.cross_entropy(logits, target).equal(before)
    assert_same_components(target, *make()[:2])


@pytest.mark.parametrize("labels", [torch._neg_view(torch.tensor([0, -1])), torch.tensor([0, 1]).expand(2)])
def test_labels_that_are_views_are_mixed_too(labels):
    target = SoftTarget.mix([labels, torch.tensor([1, 2])], [torch.tensor(0.75), torch.tensor(0.25)])
    assert_same_components(
        target, [torch.tensor([0, 1]), torch.tensor([1, 2])], [torch.full((2,), 0.75), torch.full((2,), 0.25)]
    )


@pytest.mark.parametrize("mixed", ["by hand", "by Mixup"])
def test_labels_may_be_mixed_inside_a_functional_transform(mixed):
    labels, weights, _ = make()
    logits = make_logits(7, C).detach()

    def pair(logits):
        if mixed == "by Mixup":
            return Mixup(alpha=1.0)((logits, labels[0]), rng=0)
        return logits, SoftTarget.mix(labels, weights)

    def loss(logits):
        return F.cross_entropy(*pair(logits))

    def reference(logits):
        scores, target = pair(logits)
        return -(target.probabilities(C) * scores.log_softmax(1)).sum(1).mean()

    jacobian = torch.autograd.functional.jacobian(reference, logits)
    torch.testing.assert_close(torch.func.grad(loss)(logits), jacobian)
    torch.testing.assert_close(torch.func.jacrev(loss)(logits), jacobian)
    hessian = torch.autograd.functional.hessian(reference, logits)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(loss))(logits), hessian)


def test_labels_may_be_mixed_inside_vmap():
    labels, weights, _ = make()
    logits = torch.stack([make_logits(7, C).detach(), 2 * make_logits(7, C).detach()])
    got = torch.vmap(lambda z, a: F.cross_entropy(z, SoftTarget.mix([a, *labels[1:]], weights)))(
        logits, torch.stack([labels[0]] * 2)
    )
    torch.testing.assert_close(got, torch.stack([soft_cross_entropy(z, labels, weights) for z in logits]))


def test_an_ignored_label_counts_for_nothing():
    target = SoftTarget.mix([torch.tensor([0, -100]), torch.tensor([1, 1])], [torch.tensor(0.75), torch.tensor(0.25)])
    logits = make_logits(2, C)
    log_probabilities = logits.log_softmax(1)
    expected = -(0.75 * log_probabilities[0, 0] + 0.25 * log_probabilities[:, 1].sum()) / 1.25
    torch.testing.assert_close(F.cross_entropy(logits, target), expected)


def test_weights_that_sum_to_nothing_give_nan_as_in_torch():
    target = SoftTarget.mix([torch.tensor([0, 1])] * 2, [torch.zeros(2)] * 2)
    assert F.cross_entropy(make_logits(2, C), target).isnan()


def test_weights_that_are_not_finite_give_nan_without_a_warning():
    target = SoftTarget.mix([torch.tensor([0, 1])] * 2, [torch.tensor(torch.inf), torch.tensor(0.0)])
    assert F.cross_entropy(make_logits(2, C), target).isnan()


def test_smoothing_that_is_set_afterwards_counts():
    target = make()[2]
    logits = make_logits(7, C)
    expected = F.cross_entropy(logits, SoftTarget.smooth(make()[2], 0.1))
    target.label_smoothing = 0.1
    torch.testing.assert_close(F.cross_entropy(logits, target), expected)


def test_a_single_component_is_the_hard_label():
    labels = torch.tensor([0, 1])
    logits = make_logits(2, C)
    target = SoftTarget.mix([labels], [torch.ones(2)])
    assert F.cross_entropy(logits, target).equal(F.cross_entropy(logits, labels))


def test_weights_that_are_learnt_keep_their_gradient():
    lam = torch.tensor(0.75, requires_grad=True)
    logits = make_logits(2, C)
    target = SoftTarget.mix([torch.tensor([0, 1]), torch.tensor([1, 2])], [lam, 1 - lam])
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, target, reduction="sum"), lam)
    log_probabilities = logits.log_softmax(1)
    expected = log_probabilities[0, 1] + log_probabilities[1, 2] - log_probabilities[0, 0] - log_probabilities[1, 1]
    torch.testing.assert_close(gradient, expected)


def test_labels_made_in_inference_mode_have_a_loss_there_and_outside():
    with torch.inference_mode():
        target = make()[2]
        inside = F.cross_entropy(make_logits(7, C).detach(), target)
    outside = F.cross_entropy(make_logits(7, C).detach(), target)
    expected = F.cross_entropy(make_logits(7, C).detach(), copy.deepcopy(make()[2]))
    torch.testing.assert_close(inside, expected)
    torch.testing.assert_close(outside, expected)


def test_mixing_does_not_write_to_the_labels_nor_follow_them():
    own, partner, lam = torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([0.75, 0.5])
    target = SoftTarget.mix([own, partner], [lam, 1 - lam])
    before = F.cross_entropy(make_logits(2, C), target)
    assert own._version == partner._version == lam._version == 0
    own.fill_(2)
    lam.fill_(0)
    assert F.cross_entropy(make_logits(2, C), target).equal(before)


@pytest.mark.parametrize("label", [C, -1])
def test_a_label_that_is_no_class_is_an_error_in_every_row(label):
    labels = torch.tensor([0, label, 1])
    target = SoftTarget.mix([labels, labels.flip(0)], [torch.tensor(0.75), torch.tensor(0.25)])
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        F.cross_entropy(make_logits(3, C), target)


@pytest.mark.parametrize(
    "logits", [torch.zeros(2, C), torch.zeros(4, C), torch.zeros(3, 0), torch.zeros(()), torch.zeros(C)]
)
def test_logits_that_do_not_fit_are_an_error(logits):
    target = SoftTarget.mix([torch.tensor([0, 1, 2])] * 2, [torch.tensor(0.75), torch.tensor(0.25)])
    with pytest.raises((ValueError, RuntimeError, IndexError), match=r"shape|scalar|out of bounds"):
        F.cross_entropy(logits, target)


@pytest.mark.parametrize("n", [2**13, 2**15])
def test_large_batches_are_as_exact_as_small_ones(n):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(C, (2, n), generator=generator).unbind(0)
    lam = torch.rand(n, generator=generator)
    logits = torch.randn(n, C, generator=generator)
    loss = F.cross_entropy(logits, SoftTarget.mix(labels, [lam, 1 - lam]))
    each = [F.cross_entropy(logits.double(), label, reduction="none") for label in labels]
    expected = (lam.double() * each[0] + (1 - lam).double() * each[1]).mean()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)


def test_channels_last_logits_and_their_gradient():
    labels, weights, target = make()
    logits = make_logits(C, 7)
    expected = expectation(lambda label: F.cross_entropy(logits.t(), label, reduction="none"), labels, weights).mean()
    got = torch.autograd.grad(F.cross_entropy(logits.t(), target), logits)
    torch.testing.assert_close(got, torch.autograd.grad(expected, logits))
