"""The 1,797 handwritten digits that ship with scikit-learn."""

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, TensorDataset

from lightning_tricks.data.base import TEST_SPLIT_SEED, ImageDataModule, stratified_split

_WHITE = 16.0  # the largest pixel value


class DigitsDataModule(ImageDataModule):
    """Real 8 x 8 images of digits in three parts, stratified by class; nothing is downloaded.

    The test part (20%) is always the same; ``seed`` splits the rest into 1,077 training and 360 validation images and
    shuffles the training images.

    Args:
        seed: of the split and of the order of the training images.
        batch_size: training images per batch, at least 1.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: ``batch_size`` is below 1 or ``seed`` is below 0.

    Example:
        >>> from lightning_tricks.data import DigitsDataModule
        >>> digits = DigitsDataModule(seed=0)
        >>> digits.setup("fit")
        >>> [len(part) for part in (digits.train, digits.validation, digits.test)]
        [1077, 360, 360]
    """

    class_names = tuple("0123456789")
    in_channels = 1
    image_size = 8

    def __init__(self, *, seed: int = 0, batch_size: int = 64) -> None:
        super().__init__(seed=seed, batch_size=batch_size)

    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Returns the three parts."""
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / _WHITE
        labels = torch.tensor(digits.target, dtype=torch.int64)
        rest, test = stratified_split(torch.arange(len(labels)), labels, share=0.2, seed=TEST_SPLIT_SEED)
        train, validation = stratified_split(rest, labels, share=0.25, seed=self.seed)
        self.mean, self.std = images[train].mean().view(1), images[train].std().view(1)
        images = (images - self.mean) / self.std
        first, second, third = (TensorDataset(images[part], labels[part]) for part in (train, validation, test))
        return first, second, third
