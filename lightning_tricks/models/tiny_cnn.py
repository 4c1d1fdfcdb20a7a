"""A convolutional net that a laptop trains in seconds."""

from torch import nn


def tiny_cnn(*, num_classes: int, in_channels: int) -> nn.Sequential:
    """Three convolutions with batch normalisation: about 24,000 parameters.

    Args:
        num_classes: number of classes.
        in_channels: channels of the images.

    Returns:
        A net that gives logits of shape (N, num_classes) for images of shape (N, in_channels, H, W) of at least 2 x 2
        pixels.
    """
    return nn.Sequential(
        *_block(in_channels, 16),
        *_block(16, 32),
        nn.MaxPool2d(2),
        *_block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, num_classes),
    )


def _block(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()]
