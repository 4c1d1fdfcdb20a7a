"""The base of the data modules: three parts, their loaders and the error for unreadable files."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lightning_tricks.functional.checks import check_integer

TEST_SPLIT_SEED = 0  # a test part without official images is the same for every seed
_EVALUATION_BATCH = 512


class DataError(RuntimeError):
    """The data cannot be read; the message names the path."""


class ImageDataModule(pl.LightningDataModule):
    """Labelled images in three parts: ``train``, ``validation`` and ``test``, each a data set, after ``setup``.

    Batches are (images, labels): float32 of shape (N, in_channels, image_size, image_size), normalised by the mean and
    standard deviation of the training part's channels, and int64 of shape (N,).

    Args:
        seed: of the split and of the order of the training images.
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
        ValueError: ``batch_size`` is below 1, or ``seed`` or ``num_workers`` is below 0.
    """

    class_names: Sequence[str]
    in_channels: int
    image_size: int
    mean: torch.Tensor
    std: torch.Tensor
    train: Dataset[Any] | None = None
    validation: Dataset[Any] | None = None
    test: Dataset[Any] | None = None

    def __init__(self, *, seed: int = 0, batch_size: int = 64, num_workers: int = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.seed = check_integer(name, "seed", seed, low=0)
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
