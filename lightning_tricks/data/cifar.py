"""CIFAR-10 and CIFAR-100, downloaded by torchvision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from torchvision import datasets

from lightning_tricks.data.base import DataError, ImageDataModule, stratified_split

_PADDING = 4  # pixels around the image from which a crop is taken, as in He et al., 1512.03385


class CIFARDataModule(ImageDataModule):
    """Colour images of 32 x 32 pixels; the official test images are the test part.

    ``seed`` splits the 50,000 official training images, stratified by class, into 90% for training and 10% for
    validation. Training images are padded by 4 black pixels, cropped at random to 32 x 32 and flipped at random.

    Args:
        root: folder that holds the files, or into which they are downloaded.
        seed: of the split, of the order of the training images and of their crops and flips.
        batch_size: training images in a batch, at least 1.

    Raises:
        TypeError: if an argument is not of its type.
        ValueError: if ``batch_size`` is below 1 or ``seed`` below 0.
        DataError: in ``prepare_data`` or ``setup``, if the files cannot be downloaded or read.
    """

    in_channels = 3
    image_size = 32
    source: ClassVar[type[datasets.CIFAR10]]

    def __init__(self, *, root: str | Path = "data", seed: int = 0, batch_size: int = 64) -> None:
        super().__init__(seed=seed, batch_size=batch_size)
        self.root = Path(root)

    def prepare_data(self) -> None:
        """Downloads the files that are not there yet."""
        self._official(train=True, download=True)

    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Returns the three parts."""
        images, labels = self._official(train=True, download=False)
        train, validation = stratified_split(torch.arange(len(labels)), labels, share=0.1, seed=self.seed)
        self.mean, self.std = _statistics(images[train])
        generator = torch.Generator().manual_seed(self.seed)
        return (
            _Images(images[train], labels[train], mean=self.mean, std=self.std, generator=generator),
            _Images(images[validation], labels[validation], mean=self.mean, std=self.std),
            _Images(*self._official(train=False, download=False), mean=self.mean, std=self.std),
        )

    def _official(self, *, train: bool, download: bool) -> tuple[torch.Tensor, torch.Tensor]:
        try:
            data = self.source(self.root, train=train, download=download)
        except (OSError, RuntimeError, EOFError) as error:
            task = "download" if download else "read"
            raise DataError(f"{self.root}: cannot {task} {self.source.__name__} there: {error}") from error
        return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets)


class CIFAR10DataModule(CIFARDataModule):
    """CIFAR-10; everything else is as in :class:`CIFARDataModule`."""

    source = datasets.CIFAR10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR100DataModule(CIFARDataModule):
    """CIFAR-100; everything else is as in :class:`CIFARDataModule`."""

    source = datasets.CIFAR100
    class_names = tuple(map(str, range(100)))


class _Images(Dataset[Any]):
    """Images held as bytes and fetched a batch at a time, which costs far less than one at a time.

    Args:
        images: uint8, of shape (N, C, H, W).
        labels: int64, of shape (N,).
        mean: float32, of shape (C,).
        std: float32, of shape (C,).
        generator: of the random crops and flips; ``None`` for images as they are.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        mean: torch.Tensor,
        std: torch.Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        self.images, self.labels, self.generator = images, labels, generator
        self.mean, self.std = mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.as_tensor(indices)
        images = self.images[chosen]
        if self.generator is not None:
            images = _crop_and_flip(images, self.generator)
        return (images.float() / 255 - self.mean) / self.std, self.labels[chosen]

    @staticmethod
    def collate(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch that is fetched whole is a batch already."""
        return batch


def _crop_and_flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    n, channels, height, width = images.shape
    top, left = torch.randint(2 * _PADDING + 1, (2, n, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    flipped = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    padded = F.pad(images, [_PADDING] * 4)
    sample, channel = torch.arange(n).view(-1, 1, 1, 1), torch.arange(channels).view(-1, 1, 1)
    return padded[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel, from how often each of the 256 values occurs in it."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]).square()).sum(1)
    return mean.float(), variance.sqrt().float()
