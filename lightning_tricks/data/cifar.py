"""CIFAR-10 and CIFAR-100, downloaded by torchvision."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils.data import Dataset
from torchvision import datasets
from torchvision.transforms import v2

from lightning_tricks.data.base import DataError, ImageDataModule, stratified_split
from lightning_tricks.functional.checks import check_flag

_PADDING = 4  # pixels on each side before the crop, as in He et al., arXiv:1512.03385


class CIFARDataModule(ImageDataModule):
    """Colour images of 32 x 32 pixels; the official test images are the test part.

    ``split_seed`` splits the 50,000 official training images, stratified by class, into 90% for training and 10% for
    validation. Training images are padded by 4 black pixels, cropped at random to 32 x 32 and flipped at random.

    Args:
        root: folder of the files; missing files are downloaded into it.
        seed: of the order of the training images, of their crops and flips and, without ``split_seed``, of the split.
        split_seed: of the split and of the label noise; ``None`` takes ``seed``.
        label_noise: share of the training labels that are replaced by another class, drawn at random; at least 0 and
            below 1.
        augment: whether training images are cropped and flipped at random.
        batch_size: training images per batch, at least 1.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.
        DataError: in ``prepare_data`` or ``setup``: the files cannot be downloaded or read.
    """

    in_channels = 3
    image_size = 32
    source: ClassVar[type[datasets.CIFAR10]]

    def __init__(
        self,
        *,
        root: str | Path = "data",
        seed: int = 0,
        split_seed: int | None = None,
        label_noise: float = 0.0,
        augment: bool = True,
        batch_size: int = 64,
    ) -> None:
        super().__init__(seed=seed, split_seed=split_seed, label_noise=label_noise, batch_size=batch_size)
        self.augment = check_flag(type(self).__name__, "augment", augment)
        self.root = Path(root)

    def prepare_data(self) -> None:
        """Downloads missing files."""
        self._official(train=True, download=True)

    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Returns the three parts."""
        images, labels = self._official(train=True, download=False)
        train, validation = stratified_split(torch.arange(len(labels)), labels, share=0.1, seed=self.split_seed)
        self.mean, self.std = _statistics(images[train])
        scale = v2.ToDtype(torch.float32, scale=True)
        normalise = v2.Compose([scale, v2.Normalize(self.mean.tolist(), self.std.tolist())])
        generator = torch.Generator().manual_seed(self.seed) if self.augment else None
        return (
            _Images(images[train], self.training_labels(labels[train]), normalise, generator),
            _Images(images[validation], labels[validation], normalise),
            _Images(*self._official(train=False, download=False), normalise),
        )

    def _official(self, *, train: bool, download: bool) -> tuple[torch.Tensor, torch.Tensor]:
        try:
            data = self.source(self.root, train=train, download=download)
        except (OSError, RuntimeError, EOFError) as error:
            task = "download" if download else "read"
            raise DataError(f"{self.root}: cannot {task} {self.source.__name__} there: {error}") from error
        return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets)


class CIFAR10DataModule(CIFARDataModule):
    """CIFAR-10; arguments and parts are those of :class:`CIFARDataModule`.

    Example:
        >>> from lightning_tricks.data import CIFAR10DataModule
        >>> data = CIFAR10DataModule(root="data", batch_size=128)
        >>> data.num_classes, data.class_names[0]
        (10, 'airplane')
    """

    source = datasets.CIFAR10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR100DataModule(CIFARDataModule):
    """CIFAR-100; arguments and parts are those of :class:`CIFARDataModule`.

    Example:
        >>> from lightning_tricks.data import CIFAR100DataModule
        >>> data = CIFAR100DataModule(root="data", batch_size=128)
        >>> data.num_classes, data.class_names[0]
        (100, '0')
    """

    source = datasets.CIFAR100
    class_names = tuple(map(str, range(100)))


class _Images(Dataset[Any]):
    """Images held as bytes and prepared per batch: transforms per image take ten times as long."""

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        normalise: v2.Transform,
        generator: torch.Generator | None = None,  # of the crops and flips
    ) -> None:
        self.images, self.labels, self.normalise, self.generator = images, labels, normalise, generator

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        images = self.images[indices]
        if self.generator is not None:
            images = _crop_and_flip(images, self.generator)
        return self.normalise(images), self.labels[indices]

    @staticmethod
    def collate(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the batch, which ``__getitems__`` has made."""
        return batch


def _crop_and_flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crops each padded image to its size and flips half of them."""
    n, _, height, width = images.shape
    corners = torch.randint(2 * _PADDING + 1, (2, n), generator=generator).T.tolist()
    is_flipped = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    padded = v2.functional.pad(images, [_PADDING])
    crops = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)]
    cropped = torch.stack(crops)
    return torch.where(is_flipped, cropped.flip(-1), cropped)


def _statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel, from counts of the 256 values: exact, without a copy as floats."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]).square()).sum(1)
    return mean.float(), variance.sqrt().float()
