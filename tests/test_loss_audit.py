"""The loss audit: what each of many published and hand-written losses does with soft and with sampled labels.

An expression is evaluated for every assignment of one label to each sample; the probability-weighted mean of the
results is what it has to be. With ``labels="soft"`` an expression is exact or refused. With ``labels="sample"`` the
mean over draws must agree. ``python -m tests.test_loss_audit`` prints the table of docs/losses.md.
"""

import dataclasses
import functools
import importlib.util
import itertools
import math
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_tricks import Mixup, mixed_loss, soft_labels
from tests import audited_losses as own
from tests.audited_losses import C

EXACT, REFUSED = "exact", "refused"
FUNCTION_OF_LOSS, DOMINANT = "function of the exact loss", "that of the dominant labels"
DRAWS = 2000
LAM = np.array([0.8, 0.3, 0.55])

# s: scores (N,), z: logits (N, C), e: features (N, 2); t: labels in {0, 1}, y: labels in {0, …, C−1};
# zd, yd: dense logits (N, C, 1, 2) and labels (N, 1, 2)
LABELS = {
    "y": torch.tensor([0, 3, 1]),
    "t": torch.tensor([0, 1, 1]),
    "yd": torch.tensor([[[0, 1]], [[3, 1]], [[2, 0]]]),
}
PEERS = ("timm", "kornia", "transformers")

TABLE = {
    "torch, allowed": {
        EXACT: """
            F.cross_entropy(z, y)
            F.cross_entropy(z, y, reduction="sum")
            F.cross_entropy(z, y, reduction="none")
            F.cross_entropy(z, y, label_smoothing=0.1)
            F.cross_entropy(z, y, ignore_index=2, reduction="sum")
            F.cross_entropy(z, y, weight=w, reduction="sum")
            F.cross_entropy(z, y, weight=w, reduction="none", label_smoothing=0.2)
            F.cross_entropy(zd, yd)
            nn.CrossEntropyLoss()(z, y)
            nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum")(z, y)
            F.nll_loss(z.log_softmax(1), y)
            F.nll_loss(z.log_softmax(1), y, weight=w, reduction="sum")
            nn.NLLLoss()(F.log_softmax(z, dim=1), y)
            nn.NLLLoss()(zd.log_softmax(1), yd)
            F.binary_cross_entropy_with_logits(s, t.float())
            F.binary_cross_entropy_with_logits(s, t.float(), pos_weight=w[0])
            F.binary_cross_entropy_with_logits(s[:, None], t[:, None].float())
            nn.BCEWithLogitsLoss()(s, t.to(s.dtype))
            nn.BCELoss()(s.sigmoid(), t.float())
            F.binary_cross_entropy(s.sigmoid(), t.type_as(s))
            F.mse_loss(s, y.float())
            F.mse_loss(s.sigmoid(), t.float(), reduction="sum")
            nn.MSELoss()(s.view(-1, 1), y.float().view(-1, 1))
            F.l1_loss(s, y.float())
            nn.L1Loss()(s, y.to(torch.float32))
            F.smooth_l1_loss(s, y.float(), beta=0.5)
            nn.SmoothL1Loss()(s, y.float())
            F.huber_loss(s, y.float(), delta=0.7)
            nn.HuberLoss()(s, y.float())
        """,
    },
    "torch, around the allowed losses": {
        EXACT: """
            F.cross_entropy(z.float(), y.long())
            F.cross_entropy(z, y.view(-1))
            F.cross_entropy(z, y.squeeze())
            F.cross_entropy(z[:2], y[:2])
            F.cross_entropy(z[z[:, 0] > 0], y[z[:, 0] > 0], reduction="sum")
            F.cross_entropy(zd.flatten(2), yd.flatten(1))
            F.cross_entropy(zd.permute(0, 2, 3, 1).reshape(-1, C), yd.reshape(-1))
            F.cross_entropy(z, y, reduction="none").mean()
            (F.cross_entropy(z, y, reduction="none") * z.detach()[:, 0]).mean()
            0.5 * F.cross_entropy(z, y) + 0.5 * F.cross_entropy(z / 2, y)
            F.cross_entropy(z, y) + 0.1 * z.pow(2).mean()
            torch.compile(F.cross_entropy, backend="eager")(z, y)
            torch.func.functional_call(nn.CrossEntropyLoss(), {}, (z, y))
            (torch.func.jacrev(lambda a: F.cross_entropy(a, y))(z.detach()) * z).sum()
            torch.vmap(lambda a: F.cross_entropy(a, y))(torch.stack([z, 2 * z])).mean()
            torch.utils.checkpoint.checkpoint(F.cross_entropy, z, y, use_reentrant=False)
            F.cross_entropy(input=z, target=torch.flatten(input=y[:, None]))
            F.nll_loss((1 + z + z**2 / 2).div((1 + z + z**2 / 2).sum(1, keepdim=True)).log(), y)
            0.8 * F.cross_entropy(z, y) + 0.2 * F.cross_entropy(z, z.argmax(1))
            mixed_loss(nn.MultiMarginLoss(), z, y)
            mixed_loss(own.focal, z, y)
            mixed_loss(own.brier, z, y)
            mixed_loss(F.cross_entropy, z, y)
            -(soft_labels(y, C) * z.log_softmax(1)).sum(1).mean()
            F.cross_entropy(z, soft_labels(y, C))
            own.logit_adjusted(z, y)
            own.temperature_scaled(z, y)
            own.confidence_penalty(z, y)
            own.z_loss(z, y)
            own.two_heads(z, y)
            own.doubled(z, y)
            own.repeated(z, y)
            own.by_samples(z, y)
            own.by_iteration(z, y)
            own.in_chunks(z, y)
            own.OwnHead()(z, y)
        """,
        FUNCTION_OF_LOSS: """
            own.focal_from_cross_entropy(z, y)
            own.poly(z, y)
            own.online_hard_examples(z, y)
            own.flooded(z, y)
            F.cross_entropy(z, y).exp()
        """,
        DOMINANT: """
            -z.log_softmax(1)[[0, 1, 2], y.tolist()].mean()
            -z.log_softmax(1)[[0, 1, 2], y.numpy()].mean()
            (z.sum(1) * torch.tensor([label.item() for label in y])).mean()
            ((y == torch.full((3,), 1)) * z[:, 0]).mean()
        """,
    },
    "torch, refused": {
        REFUSED: """
            F.multi_margin_loss(z, y)
            nn.MultiMarginLoss(p=2)(z, y)
            F.hinge_embedding_loss(s, 2 * t - 1)
            F.hinge_embedding_loss(s, t.float())
            F.soft_margin_loss(s, 2.0 * t - 1)
            F.soft_margin_loss(s, t.float())
            F.multilabel_margin_loss(z, F.one_hot(y, C))
            F.multilabel_soft_margin_loss(z, F.one_hot(y, C).float())
            F.poisson_nll_loss(s, y.float())
            F.gaussian_nll_loss(s, y.float(), torch.ones(3))
            F.kl_div(z.log_softmax(1), F.one_hot(y, C).float(), reduction="batchmean")
            F.kl_div(s, t.float(), reduction="sum")
            F.cosine_embedding_loss(z, z.flip(1), 2 * t - 1)
            F.margin_ranking_loss(s, s.flip(0), 2 * t - 1)
            F.cross_entropy(z, F.one_hot(y, C).float())
            F.cross_entropy(z, y.clamp(max=2))
            F.cross_entropy(z, torch.where(y > 1, 1, y))
            F.cross_entropy(z, y % 2)
            F.cross_entropy(z, y + 0)
            F.cross_entropy(z, y.masked_fill(s > 0, -100))
            F.cross_entropy(z, torch.as_tensor(y, dtype=torch.int32).long())
            F.mse_loss(z, F.one_hot(y, C).float())
            F.mse_loss(s, y)
            F.binary_cross_entropy_with_logits(z, F.one_hot(y, C).float())
            nn.AdaptiveLogSoftmaxWithLoss(C, C, [2])(z, y).loss
            torch.ops.aten.nll_loss(z.log_softmax(1), y)
            torch.ops.aten.cross_entropy_loss(z, y)
            torch.vmap(F.cross_entropy)(z, y)
            torch.vmap(lambda a, b: -a.log_softmax(0).gather(0, b[None])[0])(z, y).mean()
            torch.compile(own.focal, backend="eager")(z, y)
            torch.jit.script(own.scriptable_margin)(z, y)
            torch.jit.script(own.scriptable_cross_entropy)(z, y)
            torch.jit.script(nn.CrossEntropyLoss())(z, y)
            torch.jit.script(nn.NLLLoss())(z.log_softmax(1), y)
            torch.jit.trace(own.focal, (z, own.EXAMPLE))(z, y)
            own.OwnCrossEntropy.apply(z, y)
        """,
    },
    "written by hand": {
        REFUSED: """
            own.focal(z, y)
            own.smoothed_under_no_grad(z, y)
            own.smoothed_by_masked_fill(z, y)
            own.dice(z, y)
            own.jaccard(z, y)
            own.brier(z, y)
            own.margin(z, y)
            own.crammer_singer(z, y)
            own.additive_angular_margin(z, y)
            own.center_loss(e, y)
            own.center_loss_by_embedding(e, y)
            own.contrastive(e, y)
            own.contrastive_by_equal_views(e, y)
            own.supervised_contrastive(e, y)
            own.neighbour_pairs(e, y)
            own.triplet_batch_hard(e, y)
            own.only_class_one(z, y)
            own.foreground(z, y)
            own.weights_by_lookup(z, y)
            own.weights_by_list(z, y)
            own.weights_by_counting(z, y)
            own.by_numbers(z, y)
            own.symmetric(z, y)
            own.generalized(z, y)
            own.poly_by_one_hot(z, y)
            own.ordinal(z, y)
            own.expected_distance(z, y)
            own.log_softmax_by_hand(z, y)
            own.by_take_along_dim(z, y)
            own.by_flat_index(z, y)
            own.by_index_add(z, y)
            own.squared_hinge_of_signs(s, t)
            own.binary_by_hand(s, t)
            own.binary_focal(s, t)
            own.WeightedSampler()(z, y)
            -(torch.eye(C)[y] * z.log_softmax(1)).sum(1).mean()
            -((y[:, None] == torch.arange(C)) * z.log_softmax(1)).sum(1).mean()
            -((y.unsqueeze(1) == torch.arange(C).unsqueeze(0)).float() * z.log_softmax(1)).sum(1).mean()
            -(torch.zeros(3, C).scatter(1, y[:, None], 1.0) * z.log_softmax(1)).sum(1).mean()
            -(F.embedding(y, torch.eye(C)) * z.log_softmax(1)).sum(1).mean()
            -(torch.eye(C).index_select(0, y) * z.log_softmax(1)).sum(1).mean()
            -z.log_softmax(1)[torch.arange(3), y].mean()
            -z.log_softmax(1).gather(1, y.view(-1, 1)).mean()
            (s - y).pow(2).mean()
            (s - y.float()).abs().mean()
            ((s.sigmoid() - t) ** 2).mean()
            (s * (1 - 2 * t)).exp().mean()
            F.softplus(-s * (t * 2 - 1)).mean()
            torch.log1p(torch.exp(-s * torch.where(t == 1, 1.0, -1.0))).mean()
            (F.cross_entropy(z, y, reduction="none") * (y != 2)).mean()
            F.cross_entropy(z, y, weight=F.one_hot(y, C).float().mean(0))
        """,
    },
    "torchvision and torchmetrics": {
        REFUSED: """
            torchvision.ops.sigmoid_focal_loss(s, t.float())
            torchvision.ops.sigmoid_focal_loss(z, F.one_hot(y, C).float(), reduction="mean")
            torchmetrics.functional.hinge_loss(z.softmax(1), y, task="multiclass", num_classes=C)
            torchmetrics.functional.hinge_loss(s.sigmoid(), t, task="binary")
            torchmetrics.functional.classification.multiclass_hinge_loss(z, y, num_classes=C, squared=True)
            torchmetrics.functional.text.perplexity(z[None], y[None])
            torchmetrics.functional.mean_squared_error(s, y.float())
            torchmetrics.functional.mean_absolute_error(s, y)
            torchmetrics.functional.concordance_corrcoef(s, y.float())
            torchmetrics.functional.pairwise_euclidean_distance(s[:, None], y[:, None].float()).mean()
        """,
    },
    "timm": {
        EXACT: """
            timm.loss.SoftTargetCrossEntropy()(z, soft_labels(y, C))
        """,
        REFUSED: """
            timm.loss.LabelSmoothingCrossEntropy(0.1)(z, y)
            timm.loss.JsdCrossEntropy(num_splits=3)(z, y[:1])
            timm.loss.BinaryCrossEntropy()(z, y)
            timm.loss.BinaryCrossEntropy(smoothing=0.0)(z, y)
            timm.loss.AsymmetricLossSingleLabel()(z, y)
            timm.loss.AsymmetricLossMultiLabel()(z, F.one_hot(y, C))
            timm.loss.SoftTargetCrossEntropy()(z, F.one_hot(y, C))
        """,
    },
    "kornia": {
        REFUSED: """
            kornia.losses.focal_loss(zd, yd, alpha=0.5, reduction="mean")
            kornia.losses.dice_loss(zd, yd)
            kornia.losses.tversky_loss(zd, yd, alpha=0.5, beta=0.5)
            kornia.losses.lovasz_softmax_loss(zd, yd)
            kornia.losses.binary_focal_loss_with_logits(s[:, None], t[:, None].float())
        """,
    },
    "transformers": {
        EXACT: """
            transformers.loss.loss_utils.fixed_cross_entropy(z, y)
            transformers.loss.loss_utils.ForTokenClassification(z, y, SimpleNamespace(num_labels=C))
            transformers.loss.loss_utils.ForMaskedLMLoss(z, y, vocab_size=C)
        """,
        REFUSED: """
            transformers.loss.loss_utils.ForCausalLMLoss(z[None], y[None], vocab_size=C)
        """,
    },
}


@dataclasses.dataclass(frozen=True)
class Entry:
    group: str
    verdict: str
    expression: str

    @property
    def label(self):
        return next(name for name in ("yd", "y", "t") if re.search(rf"\b{name}\b", self.expression))

    @property
    def peer(self):
        return next((peer for peer in PEERS if self.expression.startswith(peer)), None)


ENTRIES = [
    Entry(group, verdict, line.strip())
    for group, verdicts in TABLE.items()
    for verdict, block in verdicts.items()
    for line in block.strip().splitlines()
]
PARAMETERS = [
    pytest.param(
        entry,
        id=entry.expression,
        marks=pytest.mark.skipif(
            entry.peer is not None and importlib.util.find_spec(entry.peer) is None, reason=f"needs {entry.peer}"
        ),
    )
    for entry in ENTRIES
]
pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning"
)


@functools.cache
def mixup(labels, draw=0):
    """The same mixing every time; only what ``labels="sample"`` picks differs."""
    trick = Mixup(alpha=1.0, per_sample=True, labels=labels)
    params = trick.draw(np.random.default_rng(draw), torch.zeros(3, 1))
    return trick, dataclasses.replace(params, shifts=(0, 1), weights=(LAM, 1 - LAM))


def mixed(label, labels, draw=0):
    trick, params = mixup(labels, draw)
    return trick.apply(params, torch.zeros(3, 1), LABELS[label])[1]


@functools.cache
def assignments(label):
    """Every way to give each sample one of its two labels, with its probability."""
    original, partner = LABELS[label], LABELS[label].roll(-1, 0)
    result = []
    for taken in itertools.product([True, False], repeat=3):
        probability = math.prod(lam if own_label else 1 - lam for lam, own_label in zip(LAM, taken, strict=True))
        rows = [original[i] if own_label else partner[i] for i, own_label in enumerate(taken)]
        result.append((probability, torch.stack(rows)))
    return result


@functools.cache
def frequencies(label):
    """How often ``labels="sample"`` chose each assignment."""
    counts = Counter(tuple(mixed(label, "sample", draw).flatten().tolist()) for draw in range(DRAWS))
    return {labels: count / DRAWS for labels, count in counts.items()}


def evaluate(entry, target):
    """The value of an expression, and its gradient in everything that the labels are compared with."""
    generator = torch.Generator().manual_seed(4)
    names = {
        "z": torch.randn(3, C, generator=generator).requires_grad_(),
        "zd": torch.randn(3, C, 1, 2, generator=generator).requires_grad_(),
        "e": torch.randn(3, 2, generator=generator).requires_grad_(),
        "s": torch.randn(3, generator=generator).requires_grad_(),
    }
    inputs = list(names.values())
    scope = {"torch": torch, "F": F, "nn": nn, "own": own, "C": C, "w": torch.linspace(0.5, 2, C)}
    scope |= {"mixed_loss": mixed_loss, "soft_labels": soft_labels, entry.label: target}
    if "torchvision" in entry.expression:
        scope["torchvision"] = __import__("torchvision")
    if "torchmetrics" in entry.expression:
        scope["torchmetrics"] = __import__("torchmetrics")
    if entry.peer is not None:
        from types import SimpleNamespace

        modules = {"timm": "timm.loss", "kornia": "kornia.losses", "transformers": "transformers.loss.loss_utils"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scope[entry.peer] = __import__(modules[entry.peer])
        scope["SimpleNamespace"] = SimpleNamespace
    torch.manual_seed(0)
    value = eval(entry.expression, scope | names)
    if not torch.is_grad_enabled():
        return value.double(), ()
    gradients = torch.autograd.grad(value.sum(), inputs, allow_unused=True, materialize_grads=True)
    return value.detach().double(), tuple(gradient.double() for gradient in gradients)


def mean_of(weighted):
    """Σ weight · (value, gradients)."""
    total = None
    for weight, (value, gradients) in weighted:
        parts = [weight * part for part in (value, *gradients)]
        total = parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]
    return total


def expected(entry):
    return mean_of((p, evaluate(entry, labels)) for p, labels in assignments(entry.label))


def verdict_of(entry):
    """What an expression does with soft labels."""
    try:
        value, gradients = evaluate(entry, mixed(entry.label, "soft"))
    except RuntimeError as error:
        if not re.search("SoftTarget|TorchScript interpreter", str(error)):
            raise
        return REFUSED
    if agree((value, *gradients), expected(entry)):
        return EXACT
    dominant, gradients_of_dominant = evaluate(entry, mixed(entry.label, "soft").hard)
    return DOMINANT if agree((value, *gradients), (dominant, *gradients_of_dominant)) else FUNCTION_OF_LOSS


def agree(got, want):
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(got, want, strict=False))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("entry", PARAMETERS)
def test_soft_labels_are_exact_or_refused(entry, grad):
    with torch.set_grad_enabled(grad):
        assert verdict_of(entry) == entry.verdict


@pytest.mark.parametrize("entry", PARAMETERS)
def test_sampled_labels_have_the_right_expectation(entry):
    values, probabilities = {}, Counter()
    for probability, labels in assignments(entry.label):
        values[tuple(labels.flatten().tolist())] = evaluate(entry, labels)[0]
        probabilities[tuple(labels.flatten().tolist())] += probability
    drawn = frequencies(entry.label)
    assert set(drawn) <= set(values)
    mean = sum(share * values[labels] for labels, share in drawn.items())
    expectation = sum(p * values[labels] for labels, p in probabilities.items())
    variance = sum(p * (values[labels] - expectation) ** 2 for labels, p in probabilities.items())
    assert (mean - expectation).abs().le(4.5 * (variance / DRAWS).sqrt() + 1e-9).all()


def test_the_audit_is_large_enough():
    assert len({entry.expression for entry in ENTRIES}) == len(ENTRIES) >= 120
    assert f"| {len(ENTRIES)} published loss expressions" in (Path(__file__).parents[1] / "README.md").read_text()


def render():
    lines = ['| expression | with `labels="soft"` |', "|---|---|"]
    for group, verdicts in TABLE.items():
        lines.append(f"| **{group}** | |")
        for verdict, block in verdicts.items():
            for line in block.strip().splitlines():
                expression = line.strip().replace("|", "\\|").replace("own.", "")
                lines.append(f"| `{expression}` | {verdict} |")
    return "\n".join(lines)


def test_the_documented_table_is_this_one():
    assert render() in (Path(__file__).parent.parent / "docs" / "losses.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    print(render())
