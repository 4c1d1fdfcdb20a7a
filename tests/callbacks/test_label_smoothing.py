import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_tricks import LabelSmoothing, Mixup, SoftTargetError
from tests.plain import PlainModule, image_loader
from tests.teachers import CLASSES, Student


def one_loss(make_trainer, callbacks, **kwargs):
    module = Student(**kwargs)
    make_trainer(max_steps=1, callbacks=callbacks).fit(module, image_loader(n=8))
    return module


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
def test_the_loss_is_that_of_a_criterion_that_smooths(make_trainer, epsilon):
    smoothed = one_loss(make_trainer, [LabelSmoothing(epsilon)])
    expected = one_loss(make_trainer, [], label_smoothing=epsilon)
    torch.testing.assert_close(smoothed.losses, expected.losses)


def test_spread_over_the_others(make_trainer):
    module = one_loss(make_trainer, [LabelSmoothing(0.2, spread="others")])
    one_hot = F.one_hot(module.seen[1].hard, CLASSES)
    dense = 0.8 * one_hot + 0.2 / (CLASSES - 1) * (1 - one_hot)
    torch.testing.assert_close(module.losses[0], F.cross_entropy(module.logits, dense).detach())


@pytest.mark.parametrize("order", [1, -1])
def test_its_place_beside_mixup_does_not_matter(make_trainer, order):
    callbacks = [LabelSmoothing(0.1), Mixup(alpha=1.0, seed=5)][::order]
    module = one_loss(make_trainer, callbacks)
    mixed = one_loss(make_trainer, [Mixup(alpha=1.0, seed=5)], label_smoothing=0.1)
    torch.testing.assert_close(module.losses, mixed.losses)


def test_metrics_see_hard_labels(make_trainer):
    make_trainer(callbacks=[LabelSmoothing()]).fit(PlainModule(), image_loader())


def test_smoothing_twice_names_both_places(make_trainer):
    with pytest.raises(SoftTargetError, match=r"LabelSmoothing \(label_smoothing=0.1\).*criterion's own"):
        one_loss(make_trainer, [LabelSmoothing(0.1)], label_smoothing=0.2)
    with pytest.raises(SoftTargetError, match=r"LabelSmoothing \(label_smoothing=0.1\).*again \(label_smoothing=0.2"):
        one_loss(make_trainer, [LabelSmoothing(0.1), LabelSmoothing(0.2)])


def test_p_and_epochs():
    batch = (torch.zeros(2, 3, 6, 4), torch.tensor([0, 1]))
    assert LabelSmoothing(0.1, p=0.0)(batch, rng=0)[1].probabilities(2).equal(torch.eye(2))
    assert LabelSmoothing(0.1, p=1.0)(batch, rng=0)[1].label_smoothing == 0.1
    assert LabelSmoothing(0.1)(batch)[0] is batch[0]


def test_integer_entries_of_several_targets():
    regression = torch.zeros(2)
    batch = (torch.zeros(2, 10), {"class": torch.tensor([0, 1]), "box": regression})
    target = LabelSmoothing(0.1)(batch)[1]
    assert target["class"].label_smoothing == 0.1
    assert target["box"] is regression
    assert type(batch[1]["class"]) is torch.Tensor


@pytest.mark.parametrize("target", [torch.zeros(2), torch.tensor([True, False]), ["a", "b"], {"box": torch.zeros(2)}])
def test_targets_without_class_labels(target):
    with pytest.raises(
        TypeError, match=r"LabelSmoothing needs class labels \(integers\), or probabilities of shape \(N, C\), but got"
    ):
        LabelSmoothing()((torch.zeros(2, 3, 6, 4), target))


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"label_smoothing": 1.0}, "LabelSmoothing needs label_smoothing to be at least 0 and below 1, but got 1"),
        ({"label_smoothing": -0.1}, "LabelSmoothing needs label_smoothing to be at least 0 and below 1, but got -0"),
        ({"spread": "wide"}, "LabelSmoothing needs spread to be one of 'all', 'others', but got 'wide'"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        LabelSmoothing(**kwargs)


def test_too_much_smoothing_over_too_few_classes():
    target = LabelSmoothing(0.6, spread="others")((torch.zeros(2, 4), torch.tensor([0, 1])))[1]
    with pytest.raises(ValueError, match=r"at most \(classes − 1\)/classes.*2 classes and label_smoothing=0.6"):
        nn.CrossEntropyLoss()(torch.zeros(2, 2), target)


@pytest.mark.parametrize("spread", ["all", "others"])
def test_dense_labels_are_smoothed_in_either_order(spread):
    batch = (torch.rand(7, 3, 6, 4), torch.arange(7) % CLASSES)
    smoothing = LabelSmoothing(0.1, spread=spread)
    mixup = Mixup(alpha=1.0, labels="dense", num_classes=CLASSES)
    before, after = mixup(smoothing(batch), rng=3)[1], smoothing(mixup(batch, rng=3))[1]
    torch.testing.assert_close(after, before)
    assert not torch.equal(after, mixup(batch, rng=3)[1])


def test_smoothing_twice_is_refused_whatever_is_drawn():
    batch = (torch.zeros(2, 3, 6, 4), torch.tensor([0, 1]))
    once = LabelSmoothing(0.1, p=0.0)(batch)
    with pytest.raises(SoftTargetError, match="smoothed already"):
        LabelSmoothing(0.2, p=0.0)(once)


def test_batches_that_are_drawn_and_not_have_one_graph():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(F.cross_entropy, fullgraph=True, backend="aot_eager")
    trick = LabelSmoothing(0.1, p=0.5)
    labels = torch.arange(7) % CLASSES
    logits = torch.randn(7, CLASSES, requires_grad=True)
    seen = set()
    for seed in range(6):
        target = trick((torch.zeros(7, 3, 6, 4), labels), rng=seed)[1]
        smooth = not torch.equal(target.probabilities(CLASSES), F.one_hot(labels, CLASSES).float())
        expected = F.cross_entropy(logits, labels, label_smoothing=0.1 * smooth)
        got = compiled(logits, target)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(torch.autograd.grad(got, logits), torch.autograd.grad(expected, logits))
        seen.add(smooth)
    assert seen == {True, False}
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()
