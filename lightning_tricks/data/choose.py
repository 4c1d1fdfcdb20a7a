"""Finds the data module that ``--data`` names."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lightning_tricks.data.base import DataError, ImageDataModule
from lightning_tricks.data.cifar import CIFAR10DataModule, CIFAR100DataModule
from lightning_tricks.data.digits import DigitsDataModule
from lightning_tricks.data.image_folder import ImageFolderDataModule
from lightning_tricks.functional.checks import unknown_name

DATA = ("digits", "cifar10", "cifar100")


def choose_data(
    data: str,
    *,
    batch_size: int,
    data_dir: Path,
    image_size: int,
    loader_workers: int = 0,
    label_noise: float = 0.0,
    augment: bool = True,
) -> Callable[..., ImageDataModule]:
    """Returns a function of ``seed=`` that makes the data module for one of ``DATA`` or a folder of images."""
    shared: dict[str, Any] = {"batch_size": batch_size, "label_noise": label_noise}
    if data == "digits":
        return partial(DigitsDataModule, **shared)
    shared["augment"] = augment
    if data in ("cifar10", "cifar100"):
        return partial(CIFAR10DataModule if data == "cifar10" else CIFAR100DataModule, root=data_dir, **shared)
    if Path(data).is_dir():
        return partial(ImageFolderDataModule, data, image_size=image_size, num_workers=loader_workers, **shared)
    if Path(data).exists():
        raise DataError(f"{data}: is a file; expected a folder with one folder of images per class.")
    if Path(data).name != data:  # "digts" is a misspelt name, "./digts" a folder
        raise DataError(f"{data}: there is no such folder.")
    raise unknown_name("data", data, DATA, more=", or a folder of images")
