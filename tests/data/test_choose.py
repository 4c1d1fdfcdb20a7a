from pathlib import Path

import pytest

from lightning_tricks.data import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    DataError,
    DigitsDataModule,
    ImageFolderDataModule,
)
from lightning_tricks.data.choose import DATA, choose_data
from tests.data.image_files import write_images


def choose(data, **kwargs):
    return choose_data(
        data, **({"batch_size": 5, "data_dir": Path("files"), "image_size": 12, "loader_workers": 3} | kwargs)
    )


@pytest.mark.parametrize(
    ("name", "module"),
    list(zip(DATA, (DigitsDataModule, CIFAR10DataModule, CIFAR100DataModule), strict=True)),
)
def test_names(name, module):
    data = choose(name)(seed=7)
    assert type(data) is module
    assert (data.batch_size, data.seed) == (5, 7)
    assert name == "digits" or data.root == Path("files")


def test_a_folder(tmp_path):
    data = choose(str(write_images(tmp_path, count=5)))(seed=7)
    assert type(data) is ImageFolderDataModule
    assert (data.root, data.batch_size, data.seed, data.image_size, data.num_workers) == (tmp_path, 5, 7, 12, 3)


@pytest.mark.parametrize("name", [*DATA, "folder"])
def test_noise_and_augmentation(name, tmp_path):
    name = str(write_images(tmp_path, count=5)) if name == "folder" else name
    data = choose(name, label_noise=0.25, augment=False)(seed=7)
    assert data.label_noise == 0.25
    assert name == "digits" or data.augment is False


def test_neither(tmp_path):
    with pytest.raises(ValueError, match=r"there is no data 'cifar_10'\. Did you mean 'cifar10'\?"):
        choose("cifar_10")
    with pytest.raises(ValueError, match=r"There are: cifar10, cifar100, digits, or a folder of images\."):
        choose("mnist")
    with pytest.raises(DataError, match=f"{tmp_path}/images: there is no such folder"):
        choose(str(tmp_path / "images"))
    for folder in ("./digts", "digts/"):
        with pytest.raises(DataError, match=f"^{folder}: there is no such folder"):
            choose(folder)
    (tmp_path / "images").touch()
    with pytest.raises(DataError, match=f"{tmp_path}/images: is a file; expected a folder"):
        choose(str(tmp_path / "images"))
