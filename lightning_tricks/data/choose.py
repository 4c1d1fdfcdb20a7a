"""The data that ``--data`` names."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lightning_tricks.data.base import DataError, ImageDataModule
from lightning_tricks.data.cifar import CIFAR10DataModule, CIFAR100DataModule
from lightning_tricks.data.digits import DigitsDataModule
from lightning_tricks.data.image_folder import ImageFolderDataModule
from lightning_tricks.functional.checks import unknown_name

DATA = ("digits", "cifar10", "cifar100")


def choose_data(
    data: str, *, batch_size: int, data_dir: Path, image_size: int, workers: int
) -> Callable[..., ImageDataModule]:
    """What makes the data module that ``--data`` names, given ``seed=``.

    Args:
        data: one of ``DATA``, or a folder.
        batch_size: training images in a batch.
        data_dir: where CIFAR's files are, or go.
        image_size: of the images of a folder, in pixels.
        workers: processes that load the images of a folder.

    Raises:
        ValueError: if it is neither.
        DataError: if it looks like a folder, but there is none.
    """
    if data == "digits":
        return partial(DigitsDataModule, batch_size=batch_size)
    if data in ("cifar10", "cifar100"):
        source = CIFAR10DataModule if data == "cifar10" else CIFAR100DataModule
        return partial(source, root=data_dir, batch_size=batch_size)
    if Path(data).is_dir():
        return partial(ImageFolderDataModule, data, batch_size=batch_size, image_size=image_size, num_workers=workers)
    if Path(data).exists():
        raise DataError(f"{data}: is a file; expected a folder with one folder of images for each class.")
    if Path(data).name != data:  # "digts" is a slip of the pen, "./digts" a folder
        raise DataError(f"{data}: there is no such folder.")
    raise unknown_name("data", data, DATA, more=", or a folder of images")
