"""Soft targets built by hand, and the enumerated expectation that every allowed loss must equal."""

import torch

from lightning_tricks import SoftTarget

C = 5


def make(shape=(7,), k=3, seed=0, num_classes=C):
    """K label tensors, K weight tensors that sum to 1, and the SoftTarget of them."""
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.randint(num_classes, shape, generator=generator) for _ in range(k)]
    weights = torch.rand(k, *shape, generator=generator)
    weights = list(weights / weights.sum(0))
    return labels, weights, SoftTarget.mix(labels, weights)


def make_logits(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def expectation(loss_none, labels, weights):
    """Σ_k w_k · loss(labels_k), position by position."""
    return sum(weight * loss_none(label) for label, weight in zip(labels, weights, strict=True))


def assert_same_components(target, labels, weights):
    assert len(target.components) == len(labels)
    for (label, weight), expected_label, expected_weight in zip(target.components, labels, weights, strict=True):
        assert torch.equal(label, expected_label)
        assert torch.equal(weight, expected_weight)
        assert weight.dtype == torch.float32
    assert target.shape == labels[0].shape
