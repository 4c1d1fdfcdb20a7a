"""mixed_loss: any criterion, one label at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_tricks import SoftTarget, SoftTargetError, mixed_loss
from tests.soft_target.targets import C, expectation, make, make_logits


def focal(logits, target):
    probability = logits.softmax(1)[torch.arange(len(target)), target]
    return (-((1 - probability) ** 2) * probability.log()).mean()


def brier_each(logits, target):
    return ((logits.softmax(1) - F.one_hot(target, logits.shape[1])) ** 2).sum(1)


CRITERIA = {
    "multi margin": (nn.MultiMarginLoss(), lambda z, y: F.multi_margin_loss(z, y, reduction="none"), torch.mean),
    "multi margin sum": (
        nn.MultiMarginLoss(reduction="sum"),
        lambda z, y: F.multi_margin_loss(z, y, reduction="none"),
        torch.sum,
    ),
    "multi margin none": (
        nn.MultiMarginLoss(reduction="none"),
        lambda z, y: F.multi_margin_loss(z, y, reduction="none"),
        lambda loss: loss,
    ),
    "focal": (
        focal,
        lambda z, y: torch.stack([focal(z[i : i + 1], y[i : i + 1]) for i in range(len(y))]),
        torch.mean,
    ),
    "brier each": (brier_each, brier_each, lambda loss: loss),
    "cross-entropy": (nn.CrossEntropyLoss(), lambda z, y: F.cross_entropy(z, y, reduction="none"), torch.mean),
}


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("name", CRITERIA)
def test_it_is_the_expectation_over_the_labels(name, n):
    criterion, each, reduce = CRITERIA[name]
    labels, weights, target = make((n,))
    logits = make_logits(n, C)
    loss = mixed_loss(criterion, logits, target)
    expected = reduce(expectation(lambda label: each(logits, label), labels, weights))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss.sum(), logits, retain_graph=True), torch.autograd.grad(expected.sum(), logits)
    )


def test_dense_targets_with_one_loss_a_position():
    labels, weights, target = make((2, 3, 4))
    logits = make_logits(2, C, 3, 4)

    def own(z, y):
        return 1 - z.softmax(1).gather(1, y[:, None])[:, 0]

    expected = expectation(lambda label: own(logits, label), labels, weights)
    torch.testing.assert_close(mixed_loss(own, logits, target), expected)
    with pytest.raises(ValueError, match=r"each position of the target, \(2, 3, 4\).*got \(\)"):
        mixed_loss(lambda z, y: own(z, y).mean(), logits, target)


def test_class_weighted_cross_entropy_is_exact():
    _, _, target = make()
    logits = make_logits(7, C)
    criterion = nn.CrossEntropyLoss(weight=torch.linspace(0.5, 2, C))
    torch.testing.assert_close(mixed_loss(criterion, logits, target), criterion(logits, target))


def test_plain_targets_go_to_the_criterion_as_they_are():
    logits, target = make_logits(7, C), make()[2].hard
    torch.testing.assert_close(mixed_loss(focal, logits, target), focal(logits, target))


def test_smoothing_and_teachers_need_cross_entropy():
    _, _, target = make()
    logits = make_logits(7, C)
    smoothed, taught = SoftTarget.smooth(target, 0.1), SoftTarget.distil(target, logits)
    both = SoftTarget.distil(smoothed, logits)
    for attached in (smoothed, taught, both):
        torch.testing.assert_close(mixed_loss(F.cross_entropy, logits, attached), F.cross_entropy(logits, attached))
        with pytest.raises(SoftTargetError, match=r"takes cross-entropy alone\. Use F\.cross_entropy\(logits, y\)"):
            mixed_loss(focal, logits, attached)


def test_a_criterion_over_pairs_is_refused():
    def pairs(z, y):
        same = y[:, None] == y[None]
        return (torch.cdist(z, z) * same).mean() + 1

    with pytest.raises(ValueError, match="the mean or the sum over the samples"):
        mixed_loss(pairs, make_logits(7, C), make()[2])


def test_shapes_and_casts_that_do_not_fit():
    _, _, target = make()
    with pytest.raises(ValueError, match=r"\(7,\), or, .* got \(7, 5\)"):
        mixed_loss(lambda z, y: z, make_logits(7, C), target)
    with pytest.raises(
        SoftTargetError, match=r"needs integer labels, but got torch\.float32\. Use the labels before the cast\.$"
    ):
        mixed_loss(focal, make_logits(7, C), target.float())
