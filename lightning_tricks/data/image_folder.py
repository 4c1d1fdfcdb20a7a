"""A folder with one folder of images per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from lightning_tricks.data.base import TEST_SPLIT_SEED, DataError, ImageDataModule, stratified_split
from lightning_tricks.functional.checks import check_integer

_STATISTICS_IMAGES = 1000
_LEAST_IMAGES = 5  # per class, so that every part gets at least one


class ImageFolderDataModule(ImageDataModule):
    """Your own images, in one of two layouts.

    - ``root/train/<class>/*`` and ``root/val/<class>/*``: ``val`` is the test part; ``seed`` splits ``train``,
      stratified by class, into 80% for training and 20% for validation.
    - ``root/<class>/*``: 20% are the test part, the same for every seed; ``seed`` splits the rest into 75% for training
      and 25% for validation.

    Training images are cropped at random (a quarter to all of the area), resized and flipped at random; the others are
    resized and cropped in the center. Every image is read as RGB. Mean and standard deviation are those of the training
    part, of at most 1,000 of its images.

    Args:
        root: the folder.
        image_size: height and width, in pixels, of the images that the model gets, at least 1.
        seed: of the split, of the order of the training images and of their crops and flips.
        batch_size: training images per batch, at least 1.
        num_workers: processes that load images; 0 loads them in the training process.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.
        DataError: there is no such folder, it has fewer than two classes, a class has fewer than five images, the
            classes of ``train`` and ``val`` differ, or a folder cannot be read; later: an image cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from lightning_tricks.data import ImageFolderDataModule
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     for i in range(5):
        ...         Image.new("RGB", (40, 30)).save(root / name / f"{i}.png")
        >>> data = ImageFolderDataModule(root, image_size=16)
        >>> data.setup("fit")
        >>> data.class_names, len(data.train), tuple(data.train[0][0].shape)
        (['cat', 'dog'], 6, (3, 16, 16))
    """

    in_channels = 3

    def __init__(
        self, root: str | Path, *, image_size: int = 64, seed: int = 0, batch_size: int = 64, num_workers: int = 0
    ) -> None:
        super().__init__(seed=seed, batch_size=batch_size, num_workers=num_workers)
        self.image_size = check_integer(type(self).__name__, "image_size", image_size, low=1)
        self.root = Path(root)
        has_parts = {name for name in ("train", "val") if (self.root / name).is_dir()}
        if len(has_parts) == 1:
            raise DataError(f"{self.root}: has a folder {has_parts.pop()!r} but not both 'train' and 'val'.")
        self._paths, self._labels, self.class_names = _list_images(self.root / "train" if has_parts else self.root)
        self._official_test: tuple[list[Path], torch.Tensor] | None = None
        if has_parts:
            paths, labels, classes = _list_images(self.root / "val", least=1)
            if classes != self.class_names:
                names = ", ".join(sorted(set(classes) ^ set(self.class_names)))
                raise DataError(f"{self.root}: 'train' and 'val' do not have the same classes; in only one: {names}.")
            self._official_test = paths, labels

    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Returns the three parts."""
        rest = torch.arange(len(self._labels))
        if self._official_test is None:
            rest, test = stratified_split(rest, self._labels, share=0.2, seed=TEST_SPLIT_SEED)
            test_paths, test_labels = [self._paths[i] for i in test], self._labels[test]
        else:
            test_paths, test_labels = self._official_test
        share = 0.25 if self._official_test is None else 0.2
        train, validation = stratified_split(rest, self._labels, share=share, seed=self.seed)
        center = v2.Compose([v2.Resize(round(self.image_size * 8 / 7)), v2.CenterCrop(self.image_size)])
        plain = v2.Compose([center, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        train_paths = [self._paths[i] for i in train]
        # `train` is in random order, so that its first images are a sample.
        self.mean, self.std = _statistics([plain(read_image(path)) for path in train_paths[:_STATISTICS_IMAGES]])
        normalise = v2.Normalize(self.mean.tolist(), self.std.tolist())
        crop = v2.RandomResizedCrop(self.image_size, scale=(0.25, 1.0))
        random = v2.Compose([crop, v2.RandomHorizontalFlip(), *plain.transforms[1:], normalise])
        generator = torch.Generator().manual_seed(self.seed)
        plain = v2.Compose([plain, normalise])
        return (
            _Files(train_paths, self._labels[train], random, generator),
            _Files([self._paths[i] for i in validation], self._labels[validation], plain),
            _Files(test_paths, test_labels, plain),
        )


def read_image(path: Path) -> Image.Image:
    """Reads an image as RGB; DataError if it is missing, truncated or no image."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot read this image: {error}") from error


def _list_images(root: Path, *, least: int = _LEAST_IMAGES) -> tuple[list[Path], torch.Tensor, list[str]]:
    """The images below ``root``, their labels, and the classes in the order of their names."""
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        found = {
            folder.name: sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
            for folder in folders
        }
    except OSError as error:
        raise DataError(f"{root}: cannot read this folder: {error.strerror}.") from error
    if not any(found.values()):
        endings = ", ".join(IMG_EXTENSIONS)
        raise DataError(
            f"{root}: there are no images in its folders (one folder per class, files ending in {endings})."
        )
    if len(found) < 2:
        raise DataError(
            f"{root}: needs two or more classes, one folder per class, but there is only {folders[0].name!r}."
        )
    for name, paths in found.items():
        if len(paths) < least:
            raise DataError(f"{root / name}: needs at least {least} images per class, but there are {len(paths)}.")
    labels = torch.tensor([label for label, paths in enumerate(found.values()) for _ in paths])
    return [path for paths in found.values() for path in paths], labels, list(found)


def _statistics(images: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel; a constant channel gets a deviation of 1, so that it becomes 0."""
    pixels = torch.stack(list(images)).transpose(0, 1).flatten(1).double()
    std = pixels.std(1)
    return pixels.mean(1).float(), torch.where(std > 0, std, 1.0).float()


class _Files(Dataset[Any]):
    """Images that are read and transformed when they are needed."""

    def __init__(
        self, paths: Sequence[Path], labels: torch.Tensor, transform: v2.Transform, generator: Any = None
    ) -> None:
        self.paths, self.labels, self.transform, self.generator = paths, labels, transform, generator

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = read_image(self.paths[index])
        if self.generator is None:
            return self.transform(image), self.labels[index]
        # The transforms draw from torch's CPU generator. `torch.manual_seed` would seed those of the GPUs too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
            return self.transform(image), self.labels[index]
