import pytest
import torch

from lightning_tricks.models.tiny_cnn import tiny_cnn


@pytest.mark.parametrize(("n", "channels", "classes"), [(1, 1, 10), (3, 3, 7)])
def test_logits(n, channels, classes):
    net = tiny_cnn(num_classes=classes, in_channels=channels).eval()
    assert net(torch.randn(n, channels, 9, 6)).shape == (n, classes)
    assert net(torch.randn(n, channels, 2, 2)).shape == (n, classes)


def test_it_is_as_small_as_it_says():
    parameters = sum(p.numel() for p in tiny_cnn(num_classes=10, in_channels=1).parameters())
    assert round(parameters, -3) == 24_000
