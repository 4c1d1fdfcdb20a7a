"""Known metrics of torchmetrics see the dominant labels; whatever could be a loss is refused."""

import inspect

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
import torchmetrics
import torchmetrics.clustering
import torchmetrics.functional.audio
import torchmetrics.functional.classification as functional
import torchmetrics.functional.clustering
import torchmetrics.functional.image
import torchmetrics.functional.text

from lightning_tricks import SoftTarget, SoftTargetError
from tests.soft_target.targets import C, make, make_logits

CLASSES = {"task": "multiclass", "num_classes": C}


class Subclass(torchmetrics.classification.MulticlassAccuracy):
    def update(self, preds, target):
        super().update(preds.roll(1, 0), target)


class Own(torchmetrics.Metric):
    """Sums what a function makes of a batch."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, preds, target):
        self.total = self.total + self.function(preds, target)

    def compute(self):
        return self.total


class OwnByFunctions(Own):
    def __init__(self):
        super().__init__(lambda p, y: functional.multiclass_accuracy(p, y, num_classes=C))


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
    "collection that keeps its batches": lambda: torchmetrics.MetricCollection(
        [torchmetrics.AUROC(**CLASSES), torchmetrics.AveragePrecision(**CLASSES), torchmetrics.ROC(**CLASSES)]
    ),
    "class by class": lambda: torchmetrics.wrappers.ClasswiseWrapper(torchmetrics.Accuracy(**CLASSES, average=None)),
    "least and greatest": lambda: torchmetrics.wrappers.MinMaxMetric(torchmetrics.Accuracy(**CLASSES)),
    "running": lambda: torchmetrics.wrappers.Running(torchmetrics.Accuracy(**CLASSES), 2),
    "sum": lambda: torchmetrics.Accuracy(**CLASSES) + torchmetrics.F1Score(**CLASSES),
    "subclass": lambda: Subclass(num_classes=C),
    "written with functions": OwnByFunctions,
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


def test_a_teacher_attached_is_no_hindrance():
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


def test_a_metric_that_keeps_its_batches_sees_hard_labels_whatever_is_attached():
    """With p < 1 some batches are smoothed, or have a teacher, and others not."""
    metric, plain = torchmetrics.AUROC(**CLASSES), torchmetrics.AUROC(**CLASSES)
    _, _, target = make((16,))
    logits = make_logits(16, C).detach()
    for batch in (SoftTarget.smooth(target, 0.1), target, SoftTarget.distil(target, logits), target.hard):
        metric.update(logits, batch)
        plain.update(logits, target.hard)
    assert metric.compute() == plain.compute()


def needs_gradient(result):
    return any(
        isinstance(leaf, torch.Tensor) and leaf.requires_grad for leaf in torch.utils._pytree.tree_leaves(result)
    )


KINDS = ("binary", "multiclass", "multilabel")
ARGUMENTS = {"num_classes": C, "num_labels": C, "beta": 2.0} | {
    f"min_{name}": 0.3 for name in ("precision", "recall", "sensitivity", "specificity")
}


def classification_batch(name):
    """Predictions that need a gradient, and the soft labels that the function takes."""
    if name.endswith("exact_match") and name.startswith("multiclass"):
        return make_logits(16, C, 3).softmax(1), make((16, 3))[2]
    logits = make_logits(16, C)
    if name.startswith("multiclass"):
        return logits.softmax(1), make((16,))[2]
    shape = (16, C) if name.startswith("multilabel") else (16,)
    return (logits if name.startswith("multilabel") else logits[:, 0]).sigmoid(), make(shape, num_classes=2)[2]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in functional.__all__
        if name.startswith(KINDS)
        and not name.endswith("hinge_loss")
        and "fairness" not in name
        and "groups" not in name
    ],
)
def test_no_gradient_comes_out_of_what_counts(name):
    function = getattr(functional, name)
    kwargs = {key: value for key, value in ARGUMENTS.items() if key in inspect.signature(function).parameters}
    preds, target = classification_batch(name)
    soft, hard = function(preds, target, **kwargs), function(preds, target.hard, **kwargs)
    assert not needs_gradient(soft)
    torch.testing.assert_close(soft, hard, equal_nan=True)


def scores(p):
    return p[:, 0]


LOSSES = {
    "hinge": (
        lambda p, y: functional.multiclass_hinge_loss(p, y, num_classes=C),
        lambda: torchmetrics.HingeLoss(**CLASSES),
        lambda p, y: (p, y),
    ),
    "squared error": (
        torchmetrics.functional.mean_squared_error,
        torchmetrics.MeanSquaredError,
        lambda p, y: (scores(p), y.float()),
    ),
    "absolute error": (
        torchmetrics.functional.mean_absolute_error,
        torchmetrics.MeanAbsoluteError,
        lambda p, y: (scores(p), y),
    ),
    "concordance": (
        torchmetrics.functional.concordance_corrcoef,
        torchmetrics.ConcordanceCorrCoef,
        lambda p, y: (scores(p), y.float()),
    ),
    "r2": (torchmetrics.functional.r2_score, torchmetrics.R2Score, lambda p, y: (scores(p), y.float())),
    "cosine, which keeps its batches": (
        torchmetrics.functional.cosine_similarity,
        torchmetrics.CosineSimilarity,
        lambda p, y: (p[:, :2], torch.stack([y, y], 1).float()),
    ),
    "perplexity": (
        torchmetrics.functional.text.perplexity,
        torchmetrics.text.Perplexity,
        lambda p, y: (p[None], y[None]),
    ),
    "clustering": (
        torchmetrics.functional.clustering.calinski_harabasz_score,
        torchmetrics.clustering.CalinskiHarabaszScore,
        lambda p, y: (p, y),
    ),
}
CALLS = {
    "function": lambda function, metric: function,
    "forward": lambda function, metric: metric(),
    "update": lambda function, metric: lambda p, y: updated(metric(), p, y),
    "collection": lambda function, metric: torchmetrics.MetricCollection([metric()]),
    "wrapper": lambda function, metric: torchmetrics.wrappers.MinMaxMetric(metric()),
}


def updated(metric, p, y):
    metric.update(p, y)
    return metric.compute()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", LOSSES)
def test_what_could_be_a_loss_is_refused_but_for_metrics_whose_predictions_need_no_gradient(name, call):
    function, metric, arguments = LOSSES[name]
    _, _, target = make((16,))
    logits = make_logits(16, C)
    preds, soft = arguments(logits, target)
    with pytest.raises(SoftTargetError, match=r"hard_labels\(y\)"):
        CALLS[call](function, metric)(preds, soft)
    if call == "function":
        with pytest.raises(SoftTargetError, match=r"hard_labels\(y\)"):
            function(preds.detach(), soft)
        return
    got = CALLS[call](function, metric)(preds.detach(), soft)
    expected = CALLS[call](function, metric)(preds.detach(), arguments(logits, target.hard)[1])
    torch.testing.assert_close(got, expected, equal_nan=True)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch, of its own
@pytest.mark.parametrize("transform", ["grad", "jvp", "forward mode"])
def test_derivatives_that_no_tensor_shows_are_refused_too(transform):
    target = make((16,))[2].float()
    points = make_logits(16).detach()

    metric = torchmetrics.MeanSquaredError()

    def loss(p):
        metric.update(p, target)
        return metric.compute()

    def forward_mode():
        with torch.autograd.forward_ad.dual_level():
            loss(torch.autograd.forward_ad.make_dual(points, points))

    transforms = {
        "grad": lambda: torch.func.grad(loss)(points),
        "jvp": lambda: torch.func.jvp(loss, (points,), (points,)),
        "forward mode": forward_mode,
    }
    with pytest.raises(SoftTargetError, match=r"hard_labels\(y\)"):
        transforms[transform]()


def own_subclass_of_a_metric(p, y):
    class Sharp(torchmetrics.classification.MulticlassAccuracy):
        def update(self, preds, target):
            self.loss = -(F.one_hot(target, C) * preds).sum()

    metric = Sharp(num_classes=C)
    metric.update(p, y)
    return metric.loss


UNKNOWN = {
    "own": lambda p, y: Own(lambda p, y: (F.one_hot(y, C) * p).sum())(p, y),
    "own in a collection": lambda p, y: torchmetrics.MetricCollection([Own(lambda p, y: p[range(16), y].sum())])(p, y),
    "own subclass": own_subclass_of_a_metric,
    "own that calls a loss": lambda p, y: Own(lambda p, y: torchmetrics.functional.mean_squared_error(p[:, 0], y))(
        p, y
    ),
    "transform by hand": lambda p, y: torchmetrics.wrappers.LambdaInputTransformer(
        torchmetrics.HingeLoss(**CLASSES), transform_target=lambda y: y + 0
    )(p, y),
    "transform": lambda p, y: torchmetrics.wrappers.BinaryTargetTransformer(
        torchmetrics.HingeLoss("binary"), threshold=1
    )(p[:, 0].sigmoid(), y),
    "utilities": lambda p, y: (torchmetrics.utilities.data.to_onehot(y, C) * p).sum(),
    "pairwise": lambda p, y: torchmetrics.functional.pairwise_linear_similarity(p[:, :1], y[:, None].float()).sum(),
    "image": lambda p, y: torchmetrics.functional.image.peak_signal_noise_ratio(p[:, 0], y.float(), data_range=4.0),
    "audio": lambda p, y: torchmetrics.functional.audio.signal_noise_ratio(p[:, 0], y.float()),
    "aggregation": lambda p, y: torchmetrics.MeanMetric()(p[:, 0], y.float()),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_refused(name):
    with pytest.raises(SoftTargetError, match="is not known to be right"):
        UNKNOWN[name](make_logits(16, C), make((16,))[2])


def test_a_metric_that_keeps_its_batches_joins_processes(tmp_path):
    _, _, target = make((16,))
    preds = make_logits(16, C).detach().softmax(1)
    metric, plain = torchmetrics.AUROC(**CLASSES, distributed_available_fn=lambda: True), torchmetrics.AUROC(**CLASSES)
    for _ in range(2):
        metric.update(preds, target)
        plain.update(preds, target.hard)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert metric.compute() == plain.compute()
    finally:
        dist.destroy_process_group()
