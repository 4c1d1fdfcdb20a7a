"""The base of the data modules: three parts, their loaders and the error for unreadable files."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lightning_tricks.functional.checks import check_integer, check_number

TEST_SPLIT_SEED = 0  # a test part without official images is the same for every seed
_EVALUATION_BATCH = 512
_NOISE_STREAM = 1  # keeps the draws of the noise apart from those of the order, which have the same seed


class DataError(RuntimeError):
    """The data cannot be read; the message names the path."""


class ImageDataModule(pl.LightningDataModule):
    """Labelled images in three parts: ``train``, ``validation`` and ``test``, each a data set, after ``setup``.

    Batches are (images, labels): float32 of shape (N, in_channels, image_size, image_size), normalised by the mean and
    standard deviation of the training part's channels, and int64 of shape (N,).

    Args:
        seed: of the order of the training images and, without ``split_seed``, of the split.
        split_seed: of the split and of the label noise; ``None`` takes ``seed``.
        label_noise: share of the training labels that are replaced by a wrong class, at least 0 and below 1: that many
            training images, chosen at random, get a class drawn uniformly from the other classes. Validation and test
            labels stay right.
        batch_size: training images per batch, at least 1.
        num_workers: processes that load images; 0 loads them in the training process.

    Attributes:
        class_names: one name per class, in the order of the labels; known before ``setup``.
        in_channels: channels of the images; known before ``setup``.
        image_size: height and width in pixels; known before ``setup``.
        mean: mean of each channel over the training part, for pixels from 0 to 1.
        std: standard deviation of each channel over the training part, for pixels from 0 to 1.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.
    """

    class_names: Sequence[str]
    in_channels: int
    image_size: int
    mean: torch.Tensor
    std: torch.Tensor
    train: Dataset[Any] | None = None
    validation: Dataset[Any] | None = None
    test: Dataset[Any] | None = None

    def __init__(
        self,
        *,
        seed: int = 0,
        split_seed: int | None = None,
        label_noise: float = 0.0,
        batch_size: int = 64,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.seed = check_integer(name, "seed", seed, low=0)
        self.split_seed = self.seed if split_seed is None else check_integer(name, "split_seed", split_seed, low=0)
        self.label_noise = check_number(name, "label_noise", label_noise, low=0, below=1)
        self.batch_size = check_integer(name, "batch_size", batch_size, low=1)
        self.num_workers = check_integer(name, "num_workers", num_workers, low=0)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @abstractmethod
    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Returns the training, the validation and the test part, and sets ``mean`` and ``std``."""

    def setup(self, stage: str) -> None:
        """Loads and splits the images, once."""
        if self.train is None:
            self.train, self.validation, self.test = self.load()

    def training_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Returns the labels to train on: a copy in which a share of ``label_noise`` is wrong."""
        generator = np.random.default_rng((self.split_seed, _NOISE_STREAM))
        wrong = torch.from_numpy(generator.permutation(len(labels)))[: round(self.label_noise * len(labels))]
        # A shift by 1 to num_classes - 1 is a uniform draw from the other classes.
        shifts = torch.from_numpy(generator.integers(1, self.num_classes, len(wrong)))
        return labels.index_copy(0, wrong, (labels[wrong] + shifts) % self.num_classes)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled by its own generator, so that other random draws do not change the order.

        A last batch of a single image is left out: batch normalisation cannot train on one.
        """
        size = len(self.train)  # type: ignore[arg-type]
        return DataLoader(
            self.train,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=self.batch_size > 1 and size > 1 and size % self.batch_size == 1,
            generator=torch.Generator().manual_seed(self.seed),
            num_workers=self.num_workers,
            worker_init_fn=_seed_augmentation,
            collate_fn=getattr(self.train, "collate", None),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """The part on which arms are compared."""
        return self._evaluation_loader(self.validation)

    def test_dataloader(self) -> DataLoader[Any]:
        """The part for one last comparison."""
        return self._evaluation_loader(self.test)

    def _evaluation_loader(self, part: Dataset[Any] | None) -> DataLoader[Any]:
        return DataLoader(
            part,  # type: ignore[arg-type]
            batch_size=max(self.batch_size, _EVALUATION_BATCH),
            num_workers=self.num_workers,
            collate_fn=getattr(part, "collate", None),
        )


def stratified_split(
    indices: torch.Tensor, labels: torch.Tensor, *, share: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Splits ``indices`` into ``labels`` in two, with the same share of each class in the second part."""
    first, second = train_test_split(indices.numpy(), test_size=share, random_state=seed, stratify=labels[indices])
    return torch.from_numpy(first), torch.from_numpy(second)


def _seed_augmentation(worker_id: int) -> None:
    """Gives each loading process in each epoch its own draws: all start from copies of one generator."""
    worker = get_worker_info()
    generator = getattr(worker.dataset, "generator", None) if worker else None
    if worker and generator:
        generator.manual_seed(worker.seed)
