"""Data modules: the digits, CIFAR and folders of images."""

from lightning_tricks.data.base import DataError
from lightning_tricks.data.cifar import CIFAR10DataModule, CIFAR100DataModule
from lightning_tricks.data.digits import DigitsDataModule
from lightning_tricks.data.image_folder import ImageFolderDataModule

__all__ = ["CIFAR10DataModule", "CIFAR100DataModule", "DataError", "DigitsDataModule", "ImageFolderDataModule"]
