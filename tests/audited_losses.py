"""Losses as people write and publish them, for the loss audit: each takes logits and class labels."""

import torch
import torch.nn.functional as F
from torch import nn

C = 4


def focal(z, y, gamma=2.0):
    p = z.softmax(1).gather(1, y[:, None])[:, 0]
    return (-((1 - p) ** gamma) * p.log()).mean()


def focal_from_cross_entropy(z, y, gamma=2.0):
    ce = F.cross_entropy(z, y, reduction="none")
    return ((1 - torch.exp(-ce)) ** gamma * ce).mean()


def smoothed_under_no_grad(z, y, epsilon=0.1):
    with torch.no_grad():
        q = torch.full_like(z, epsilon / (C - 1))
        q.scatter_(1, y.unsqueeze(1), 1 - epsilon)
    return -(q * z.log_softmax(1)).sum(1).mean()


def smoothed_by_masked_fill(z, y, epsilon=0.1):
    mask = torch.arange(C).expand_as(z) == y[:, None].expand_as(z)
    q = torch.full_like(z, epsilon / (C - 1)).masked_fill(mask, 1 - epsilon)
    return -(q * z.log_softmax(1)).sum(1).mean()


def dice(z, y):
    p, q = z.softmax(1), F.one_hot(y, C)
    return 1 - (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)


def jaccard(z, y):
    p, q = z.softmax(1), torch.eye(C)[y]
    overlap = (p * q).sum(0)
    return 1 - (overlap / (p.sum(0) + q.sum(0) - overlap + 1)).mean()


def brier(z, y):
    return ((z.softmax(1) - F.one_hot(y, C).float()) ** 2).sum(1).mean()


def margin(z, y):
    right = z[torch.arange(len(y)), y]
    wrong = z.masked_fill(F.one_hot(y, C).bool(), -torch.inf).amax(1)
    return (1 - right + wrong).relu().mean()


def crammer_singer(z, y):
    right = z.gather(1, y.view(-1, 1))
    margins = (z - right + 1).clamp(min=0)
    margins[torch.arange(len(y)), y] = 0
    return margins.sum(1).mean()


def additive_angular_margin(z, y, scale=4.0, m=0.2):
    cosine = torch.tanh(z)
    q = torch.zeros_like(cosine).scatter_(1, y.view(-1, 1).long(), 1.0)
    return F.cross_entropy(scale * torch.where(q.bool(), cosine - m, cosine), y)


def center_loss(e, y):
    centers = torch.linspace(-1, 1, C * e.shape[1]).view(C, -1)
    return ((e - centers[y]) ** 2).sum(1).mean()


def center_loss_by_embedding(e, y):
    return ((e - F.embedding(y, torch.linspace(-1, 1, C * e.shape[1]).view(C, -1))) ** 2).sum(1).mean()


def contrastive(e, y):
    same = (y[:, None] == y[None, :]).float()
    return (same * torch.cdist(e, e) ** 2 + (1 - same) * (1 - torch.cdist(e, e)).relu() ** 2).mean()


def contrastive_by_equal_views(e, y):
    n = len(y)
    same = torch.eq(y.view(n, 1).expand(n, n), y.view(1, n).expand(n, n))
    return (torch.cdist(e, e) * same).mean()


def supervised_contrastive(e, y):
    similarity = e @ e.T
    mask = (y.unsqueeze(0) == y.unsqueeze(1)).float() - torch.eye(len(y))
    return -(mask * similarity.log_softmax(1)).sum() / len(y)


def neighbour_pairs(e, y):
    return ((e - e.roll(1, 0)).pow(2).sum(1) * (y == y.roll(1, 0))).mean()


def triplet_batch_hard(e, y):
    distance = torch.cdist(e, e)
    same = y.unsqueeze(1).eq(y.unsqueeze(1).t())
    return ((distance * same).amax(1) - (distance + 10 * same).amin(1) + 1).relu().mean()


def online_hard_examples(z, y):
    return F.cross_entropy(z, y, reduction="none").topk(2).values.mean()


def only_class_one(z, y):
    mask = y == 1
    return F.cross_entropy(z[mask], y[mask], reduction="sum")


def foreground(z, y):
    return F.cross_entropy(z[y > 0], y[y > 0], reduction="sum")


def weights_by_lookup(z, y):
    table = torch.linspace(0.5, 2, C)
    return (table[y] * F.cross_entropy(z, y, reduction="none")).mean()


def weights_by_list(z, y):
    table = [0.5, 1.0, 1.5, 2.0]
    return torch.stack([table[label] * F.cross_entropy(z[i : i + 1], y[i : i + 1]) for i, label in enumerate(y)]).mean()


def weights_by_counting(z, y):
    counts = torch.bincount(y, minlength=C).float()
    return F.cross_entropy(z, y, weight=1 / (counts + 1))


def by_samples(z, y):
    return torch.stack([F.cross_entropy(z[i], y[i]) for i in range(len(y))]).mean()


def by_iteration(z, y):
    return sum(F.cross_entropy(logits, label) for logits, label in zip(z, y, strict=True))


def in_chunks(z, y):
    parts = zip(z.split(2), y.split(2), strict=True)
    return sum(F.cross_entropy(logits, label, reduction="sum") for logits, label in parts)


def by_numbers(z, y):
    return sum(-z.log_softmax(1)[i, int(label)] for i, label in enumerate(y))


def symmetric(z, y):
    q = F.one_hot(y, C).float().clamp(1e-4, 1.0)
    return F.cross_entropy(z, y) - (z.softmax(1) * q.log()).sum(1).mean()


def generalized(z, y, q=0.7):
    p = z.softmax(1).gather(1, y.unsqueeze(1)).squeeze(1)
    return ((1 - p**q) / q).mean()


def poly(z, y):
    ce = F.cross_entropy(z, y, reduction="none")
    return (ce + 1 - (-ce).exp()).mean()


def poly_by_one_hot(z, y):
    return (F.cross_entropy(z, y, reduction="none") + 1 - (F.one_hot(y, C) * z.softmax(1)).sum(1)).mean()


def ordinal(z, y):
    levels = (torch.arange(C - 1) < y.unsqueeze(1)).float()
    return F.binary_cross_entropy_with_logits(z[:, :-1], levels)


def expected_distance(z, y):
    return ((z.softmax(1) * torch.arange(C)).sum(1) - y).abs().mean()


def logit_adjusted(z, y):
    return F.cross_entropy(z + torch.linspace(0.1, 0.4, C).log(), y)


def temperature_scaled(z, y):
    return F.cross_entropy(z / 2.0, y)


def confidence_penalty(z, y):
    p = z.softmax(1)
    return F.cross_entropy(z, y) + 0.1 * (p * p.log()).sum(1).mean()


def z_loss(z, y):
    return F.cross_entropy(z, y) + 1e-2 * z.logsumexp(1).pow(2).mean()


def two_heads(z, y):
    return F.cross_entropy(z, y) + 0.4 * F.cross_entropy(z.flip(1), y)


def doubled(z, y):
    return F.cross_entropy(torch.cat([z, z.flip(1)]), torch.cat([y, y]))


def repeated(z, y):
    return F.cross_entropy(z.repeat(2, 1), y.repeat(2))


def flooded(z, y):
    return (F.cross_entropy(z, y) - 1.5).abs() + 1.5


def log_softmax_by_hand(z, y):
    return (z.logsumexp(1) - z[range(len(y)), y]).mean()


def by_take_along_dim(z, y):
    return -torch.take_along_dim(z.log_softmax(1), y[:, None], 1).mean()


def by_flat_index(z, y):
    return -z.log_softmax(1).view(-1)[torch.arange(len(y)) * C + y].mean()


def by_index_add(z, y):
    return torch.zeros(C).index_add(0, y, z.logsumexp(1)).pow(2).sum()


def squared_hinge_of_signs(s, t):
    return (1 - s * (2 * t - 1)).relu().pow(2).mean()


def binary_by_hand(s, t):
    p = s.sigmoid()
    return -(t * p.log() + (1 - t) * (1 - p).log()).mean()


def binary_focal(s, t):
    p = s.sigmoid()
    pt = torch.where(t == 1, p, 1 - p)
    return (-((1 - pt) ** 2) * pt.log()).mean()


class OwnCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, y):
        ctx.save_for_backward(z, y)
        return -z.log_softmax(1).gather(1, y[:, None]).mean()

    @staticmethod
    def backward(ctx, gradient):
        z, y = ctx.saved_tensors
        return gradient * (z.softmax(1) - F.one_hot(y, C)) / len(y), None


class OwnHead(nn.Module):
    def forward(self, z, y):
        return F.nll_loss(F.log_softmax(z, dim=1), y)


class WeightedSampler(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.linspace(0.5, 2, C))

    def forward(self, z, y):
        return (self.table.gather(0, y) * F.cross_entropy(z, y, reduction="none")).mean()


def scriptable_margin(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (1 - z.gather(1, y.unsqueeze(1))).relu().mean()


def scriptable_cross_entropy(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(z, y)


EXAMPLE = torch.tensor([0, 1, 2])
