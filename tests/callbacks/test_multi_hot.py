"""Binary, multi-hot and one-hot labels under mixing and smoothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy, MultilabelF1Score

from lightning_tricks import RICAP, CutMix, LabelSmoothing, Mixup, Mosaic, RandomChoice
from tests.plain import PlainModule

C = 5
MIXING = {
    "Mixup": lambda **arguments: Mixup(alpha=1.0, **arguments),
    "Mixup per sample": lambda **arguments: Mixup(alpha=1.0, per_sample=True, **arguments),
    "CutMix": CutMix,
    "RICAP": lambda **arguments: RICAP(beta=1.0, **arguments),
    "Mosaic": Mosaic,
    "RandomChoice": lambda seed, **arguments: RandomChoice(
        [Mixup(alpha=1.0, **arguments), RICAP(**arguments)], seed=seed
    ),
}
IMAGES = torch.rand(8, 3, 6, 4, generator=torch.Generator().manual_seed(0))
HITS = torch.randint(0, 2, (8, C), generator=torch.Generator().manual_seed(1)).float()
ONE_HOT = F.one_hot(torch.arange(8) % C, C).float()
BLENDS = '{} makes shares of labels that are 0.0 or 1.0.*labels="sample".*y.long'


class MultiLabel(PlainModule):
    """Multi-label or binary classification as it is written with torchmetrics: integers for the metric."""

    def __init__(self, outputs=C, metric=None):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(72, outputs))
        self.metric = metric or MultilabelF1Score(num_labels=C)
        self.seen = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.seen.append(y)
        logits = self(x).view(y.shape)
        self.metric(logits.detach(), y.int())
        return F.binary_cross_entropy_with_logits(logits, y.float())


def fit(make_trainer, module, labels, callbacks):
    loader = DataLoader(TensorDataset(IMAGES, labels), batch_size=4)
    make_trainer(callbacks=callbacks).fit(module, loader)
    return module


@pytest.mark.parametrize("name", MIXING)
def test_sampled_rows_are_those_of_one_component(make_trainer, name):
    module = fit(make_trainer, MultiLabel(), HITS, [MIXING[name](labels="sample", seed=1)])
    rows = set(map(tuple, HITS.tolist()))
    assert all(tuple(row) in rows for y in module.seen for row in y.tolist())
    assert all(y.dtype == torch.float32 for y in module.seen)
    assert not torch.equal(torch.cat(module.seen), HITS)


@pytest.mark.parametrize("shape", [(8,), (8, C), (8, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_mean_of_the_draws_is_the_weighted_sum(shape, dtype):
    target = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    rng = np.random.default_rng(0)
    soft, sampled = Mixup(alpha=1.0), Mixup(alpha=1.0, labels="sample")
    params = sampled.draw(rng, IMAGES)
    exact = soft.apply(params, IMAGES, target.double())[1]
    draws = torch.stack(
        [
            sampled.apply(
                type(params)(**{**vars(params), "picks": rng.random(8, dtype=np.float32)}), IMAGES, target.double()
            )[1]
            for _ in range(4000)
        ]
    )
    spread = draws.std(0) / 4000**0.5
    assert ((draws.mean(0) - exact).abs() <= 5 * spread + 1e-12).all()
    assert sampled.apply(params, IMAGES, target)[1].dtype == dtype


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("labels", ["multi-hot", "binary", "binary column"])
def test_blended_hits_warn_once_before_the_metric_reads_them(make_trainer, name, labels):
    target = {"multi-hot": HITS, "binary": HITS[:, 0], "binary column": HITS[:, :1]}[labels]
    module = MultiLabel() if labels == "multi-hot" else MultiLabel(1, BinaryAccuracy())
    trick = MIXING[name](seed=1)
    with pytest.warns(UserWarning, match=BLENDS.format(trick.name)) as caught:
        fit(make_trainer, module, target, [trick])
    assert sum("makes shares" in str(one.message) for one in caught) == 1


def test_the_warning_comes_before_an_error_of_torchmetrics(make_trainer):
    class Floats(MultiLabel):
        def training_step(self, batch, batch_idx):
            return self.metric(self(batch[0]), batch[1])

    with (
        pytest.warns(UserWarning, match=BLENDS.format("Mixup")),
        pytest.raises(RuntimeError, match="expected only the following values"),
    ):
        fit(make_trainer, Floats(), HITS, [Mixup()])


@pytest.mark.parametrize("target", [ONE_HOT, HITS * 0.5, HITS.long(), torch.zeros(8, C), torch.arange(8.0)])
def test_labels_that_do_not_warn(make_trainer, target):
    class Any(PlainModule):
        def training_step(self, batch, batch_idx):
            return F.mse_loss(self(batch[0]), self(batch[0]).detach())

    fit(make_trainer, Any(), target, [Mixup()])


def test_integer_hits_are_exact_in_the_loss_and_hard_in_the_metric(make_trainer):
    """The way that the warning names."""
    module = fit(make_trainer, MultiLabel(), HITS.long(), [Mixup(alpha=1.0, seed=1)])
    assert all(y.hard.unique().tolist() == [0, 1] for y in module.seen)
    assert module.metric.compute() >= 0


@pytest.mark.parametrize("spread", ["all", "others"])
def test_one_hot_labels_are_smoothed_like_class_labels(spread):
    trick = LabelSmoothing(0.1, spread=spread)
    logits = torch.randn(8, C, generator=torch.Generator().manual_seed(3))
    smoothed = trick((IMAGES, ONE_HOT))[1]
    classes = trick((IMAGES, ONE_HOT.argmax(1)))[1]
    torch.testing.assert_close(smoothed, classes.probabilities(C))
    torch.testing.assert_close(F.cross_entropy(logits, smoothed), F.cross_entropy(logits, classes))


@pytest.mark.parametrize("target", [HITS, HITS[:, 0], HITS[:, :1], {"tags": HITS}, 0.3 * HITS])
def test_smoothing_of_hits_is_refused_with_the_way(target):
    match = r"LabelSmoothing needs class labels.*multi-hot labels in training_step: y \* 0\.9 \+ 0\.05\.$"
    with pytest.raises(TypeError, match=match):
        LabelSmoothing(0.1)((IMAGES, target))


def test_the_way_is_smoothing_of_each_label_with_two_classes():
    logits = torch.randn(8, C, generator=torch.Generator().manual_seed(3))
    two = torch.stack([torch.zeros_like(logits), logits], 1)
    expected = nn.CrossEntropyLoss(label_smoothing=0.1)(two, HITS.long())
    torch.testing.assert_close(F.binary_cross_entropy_with_logits(logits, HITS * 0.9 + 0.05), expected)
