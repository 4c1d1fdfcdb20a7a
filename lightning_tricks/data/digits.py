"""The 1,797 handwritten digits that ship with scikit-learn."""

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, TensorDataset

from lightning_tricks.data.base import TEST_SPLIT_SEED, ImageDataModule, stratified_split

_WHITE = 16.0  # the largest pixel value


class DigitsDataModule(ImageDataModule):
    """Real 8 x 8 images of digits in three parts, stratified by class; nothing is downloaded.

    The test part (20%) is always the same; ``split_seed`` splits the rest into 1,077 training and 360 validation
    images.

    Args:
        seed: of the order of the training images and, without ``split_seed``, of the split.
        split_seed: of the split and of the label noise; ``None`` takes ``seed``.
        label_noise: share of the training labels that are replaced by another class, drawn at random; at least 0 and
            below 1.
        batch_size: training images per batch, at least 1.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.

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

    def __init__(
        self, *, seed: int = 0, split_seed: int | None = None, label_noise: float = 0.0, batch_size: int = 64
    ) -> None:
        super().__init__(seed=seed, split_seed=split_seed, label_noise=label_noise, batch_size=batch_size)

    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Returns the three parts."""
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / _WHITE
        labels = torch.tensor(digits.target, dtype=torch.int64)
        rest, test = stratified_split(torch.arange(len(labels)), labels, share=0.2, seed=TEST_SPLIT_SEED)
        train, validation = stratified_split(rest, labels, share=0.25, seed=self.split_seed)
        self.mean, self.std = images[train].mean().view(1), images[train].std().view(1)
        images = (images - self.mean) / self.std
        return (
            TensorDataset(images[train], self.training_labels(labels[train])),
            TensorDataset(images[validation], labels[validation]),
            TensorDataset(images[test], labels[test]),
        )
