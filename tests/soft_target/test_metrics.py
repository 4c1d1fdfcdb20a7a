"""torchmetrics sees the dominant labels."""

import pytest
import torch
import torch.nn.functional as F
import torchmetrics
import torchmetrics.functional.classification as functional

from lightning_tricks import SoftTarget, SoftTargetError
from tests.soft_target.targets import C, make, make_logits

CLASSES = {"task": "multiclass", "num_classes": C}
METRICS = {
    "accuracy": lambda: torchmetrics.Accuracy(**CLASSES),
    "macro accuracy": lambda: torchmetrics.Accuracy(**CLASSES, average="macro"),
    "top-2 accuracy": lambda: torchmetrics.Accuracy(**CLASSES, top_k=2),
    "ignoring accuracy": lambda: torchmetrics.Accuracy(**CLASSES, ignore_index=2),
    "f1": lambda: torchmetrics.F1Score(**CLASSES, average="macro"),
    "precision": lambda: torchmetrics.Precision(**CLASSES, average=None),
    "confusion": lambda: torchmetrics.ConfusionMatrix(**CLASSES),
    "auroc": lambda: torchmetrics.AUROC(**CLASSES),
    "binned auroc": lambda: torchmetrics.AUROC(**CLASSES, thresholds=5),
    "average precision": lambda: torchmetrics.AveragePrecision(**CLASSES),
    "calibration": lambda: torchmetrics.CalibrationError(**CLASSES),
    "kappa": lambda: torchmetrics.CohenKappa(**CLASSES),
    "mcc": lambda: torchmetrics.MatthewsCorrCoef(**CLASSES),
    "jaccard": lambda: torchmetrics.JaccardIndex(**CLASSES),
    "exact match": lambda: torchmetrics.ExactMatch(**CLASSES),
    "collection": lambda: torchmetrics.MetricCollection(
        [torchmetrics.Accuracy(**CLASSES), torchmetrics.F1Score(**CLASSES)]
    ),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", METRICS)
def test_metric_classes_see_hard_labels(name, grad):
    shape = (16, 3) if name == "exact match" else (16,)
    _, _, target = make(shape)
    logits = make_logits(16, C, *shape[1:])
    with torch.set_grad_enabled(grad):
        soft, hard = METRICS[name](), METRICS[name]()
        torch.testing.assert_close(soft(logits.softmax(1), target), hard(logits.softmax(1), target.hard))
        soft.update(logits.softmax(1), target)
        hard.update(logits.softmax(1), target.hard)
        torch.testing.assert_close(soft.compute(), hard.compute())


FUNCTIONS = {
    "accuracy": lambda p, y: functional.multiclass_accuracy(p, y, num_classes=C),
    "top-3 accuracy": lambda p, y: functional.multiclass_accuracy(p, y, num_classes=C, top_k=3, average="micro"),
    "of predictions": lambda p, y: functional.multiclass_accuracy(p.argmax(1), y, num_classes=C, average="micro"),
    "f1": lambda p, y: functional.multiclass_f1_score(p, y, num_classes=C, average="weighted"),
    "stat scores": lambda p, y: functional.multiclass_stat_scores(p, y, num_classes=C, average=None),
    "roc": lambda p, y: functional.multiclass_roc(p, y, num_classes=C, thresholds=4)[1],
    "specificity": lambda p, y: functional.multiclass_specificity(p, y, num_classes=C),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_metric_functions_see_hard_labels(name, grad):
    _, _, target = make((16,))
    probabilities = make_logits(16, C).softmax(1)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(FUNCTIONS[name](probabilities, target), FUNCTIONS[name](probabilities, target.hard))


def test_a_users_own_metric_is_a_metric():
    class Own(torchmetrics.Metric):
        def __init__(self):
            super().__init__()
            self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")

        def update(self, logits, target):
            self.hits += (F.one_hot(target, C) * F.one_hot(logits.argmax(1), C)).sum()

        def compute(self):
            return self.hits

    _, _, target = make()
    logits = make_logits(7, C)
    assert Own()(logits, target) == (logits.argmax(1) == target.hard).sum()


def test_a_teacher_aboard_is_no_hindrance():
    _, _, target = make()
    logits = make_logits(7, C)
    taught = SoftTarget.distil(SoftTarget.smooth(target, 0.1), logits)
    accuracy = torchmetrics.Accuracy(**CLASSES)
    assert accuracy(logits, taught) == accuracy(logits, target.hard)


def test_the_metric_leaves_the_soft_labels_soft():
    _, _, target = make()
    logits = make_logits(7, C)
    before = F.cross_entropy(logits, target)
    torchmetrics.Accuracy(**CLASSES)(logits, target)
    assert torch.equal(F.cross_entropy(logits, target), before)


@pytest.mark.parametrize(
    ("function", "metric"),
    [
        (torchmetrics.functional.mean_squared_error, torchmetrics.MeanSquaredError),
        (torchmetrics.functional.concordance_corrcoef, torchmetrics.ConcordanceCorrCoef),
    ],
)
def test_a_differentiable_function_is_a_loss_and_its_class_a_metric(function, metric):
    _, _, target = make()
    scores = make_logits(7)
    with pytest.raises(SoftTargetError):
        function(scores, target.float())
    torch.testing.assert_close(metric()(scores, target.float()), metric()(scores, target.hard.float()))


def test_a_metric_that_keeps_its_batches_sees_hard_labels_whatever_is_aboard():
    """With p < 1 some batches are smoothed, or have a teacher, and others not."""
    metric, plain = torchmetrics.AUROC(**CLASSES), torchmetrics.AUROC(**CLASSES)
    _, _, target = make((16,))
    logits = make_logits(16, C).detach()
    for batch in (SoftTarget.smooth(target, 0.1), target, SoftTarget.distil(target, logits), target.hard):
        metric.update(logits, batch)
        plain.update(logits, target.hard)
    assert metric.compute() == plain.compute()
