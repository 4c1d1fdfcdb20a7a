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
from lightning_tricks.functional.checks import check_flag, check_integer

_STATISTICS_IMAGES = 1000
_LEAST_IMAGES = 5  # per class, so that every part gets at least one
_PARTS = ("train", "val", "test")  # names of folders


class ImageFolderDataModule(ImageDataModule):
    """Your own images, in one of two layouts.

    - ``root/train/<class>/*`` with ``root/val/<class>/*``, ``root/test/<class>/*`` or both: each folder is the part
      that its name says. A missing one is split off ``train`` as below.
    - ``root/<class>/*``: 20% are the test part, the same for every seed; ``split_seed`` splits the rest into 75% for
      training and 25% for validation, or 80% and 20% where the test part is a folder.

    Splits are stratified by class. Training images are cropped at random (a quarter to all of the area), resized and
    flipped at random; the others are resized and cropped in the center. Every image is read as RGB. Mean and standard
    deviation are those of the training part, of at most 1,000 of its images.

    Args:
        root: the folder.
        image_size: height and width, in pixels, of the images that the model gets, at least 1.
        seed: of the order of the training images, of their crops and flips and, without ``split_seed``, of the split.
        split_seed: of the split and of the label noise; ``None`` takes ``seed``.
        label_noise: share of the training labels that are replaced by another class, drawn at random; at least 0 and
            below 1.
        augment: whether training images are cropped and flipped at random; else they are prepared as the others are.
        batch_size: training images per batch, at least 1.
        num_workers: processes that load images; 0 loads them in the training process.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range.
        DataError: there is no such folder, it has fewer than two classes, a class has no images, or fewer than five
            where its folder is split, the classes of two parts differ, or a folder cannot be read; later: an image
            cannot be read.

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
        self,
        root: str | Path,
        *,
        image_size: int = 64,
        seed: int = 0,
        split_seed: int | None = None,
        label_noise: float = 0.0,
        augment: bool = True,
        batch_size: int = 64,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            seed=seed,
            split_seed=split_seed,
            label_noise=label_noise,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        self.image_size = check_integer(type(self).__name__, "image_size", image_size, low=1)
        self.augment = check_flag(type(self).__name__, "augment", augment)
        self.root = Path(root)
        named = [name for name in _PARTS if (self.root / name).is_dir()]
        if named and (len(named) == 1 or "train" not in named):
            raise DataError(
                f"{self.root}: has a folder {named[0]!r}, but parts need the folder 'train' and 'val', 'test' or both."
            )
        first, least = named[0] if named else "", 1 if len(named) == len(_PARTS) else _LEAST_IMAGES
        paths, labels, self.class_names = _list_images(self.root / first, least=least)
        self._rest = paths, labels
        self._named: dict[str, tuple[list[Path], torch.Tensor]] = {}
        for name in named[1:]:
            paths, labels, classes = _list_images(self.root / name, least=1)
            if classes != self.class_names:
                differing = ", ".join(sorted(set(classes) ^ set(self.class_names)))
                raise DataError(
                    f"{self.root}: 'train' and {name!r} do not have the same classes; in only one: {differing}."
                )
            self._named[name] = paths, labels

    def load(self) -> tuple[Dataset[Any], Dataset[Any], Dataset[Any]]:
        """Returns the three parts."""
        paths, labels = self._rest
        parts, train = dict(self._named), torch.arange(len(labels))
        if len(parts) == 2:  # nothing is split
            train = torch.randperm(len(labels), generator=torch.Generator().manual_seed(TEST_SPLIT_SEED))
        # The test part comes off first, so that it is the same for every seed.
        splits = {"test": (0.2, TEST_SPLIT_SEED), "val": (0.2 if "test" in parts else 0.25, self.split_seed)}
        for name, (share, seed) in splits.items():
            if name not in parts:
                train, part = stratified_split(train, labels, share=share, seed=seed)
                parts[name] = [paths[i] for i in part], labels[part]
        train_paths = [paths[i] for i in train]
        center = v2.Compose([v2.Resize(round(self.image_size * 8 / 7)), v2.CenterCrop(self.image_size)])
        plain = v2.Compose([center, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        # `train` is in random order, so that its first images are a sample.
        self.mean, self.std = _statistics([plain(read_image(path)) for path in train_paths[:_STATISTICS_IMAGES]])
        normalise = v2.Normalize(self.mean.tolist(), self.std.tolist())
        crop = v2.RandomResizedCrop(self.image_size, scale=(0.25, 1.0))
        random = v2.Compose([crop, v2.RandomHorizontalFlip(), *plain.transforms[1:], normalise])
        plain = v2.Compose([plain, normalise])
        generator = torch.Generator().manual_seed(self.seed) if self.augment else None
        return (
            _Files(train_paths, self.training_labels(labels[train]), random if self.augment else plain, generator),
            _Files(*parts["val"], plain),
            _Files(*parts["test"], plain),
        )


def read_image(path: Path) -> Image.Image:
    """Reads an image as RGB; DataError if it is missing, truncated or no image."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot read this image: {error}") from error


def _list_images(root: Path, *, least: int) -> tuple[list[Path], torch.Tensor, list[str]]:
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
            images = "image" if least == 1 else "images"
            raise DataError(f"{root / name}: needs at least {least} {images} per class, but there are {len(paths)}.")
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
