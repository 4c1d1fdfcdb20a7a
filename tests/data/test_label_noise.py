"""Wrong training labels: in every data module the same rule."""

import pickle

import numpy as np
import pytest
import torch
from torchvision import datasets

from lightning_tricks.data import CIFAR10DataModule, DigitsDataModule, ImageFolderDataModule
from tests.data.image_files import write_images


@pytest.fixture(params=["digits", "cifar", "folder"])
def make(request, tmp_path, monkeypatch):
    """Makes a data module with its parts."""
    if request.param == "cifar":
        rng, folder = np.random.default_rng(0), tmp_path / datasets.CIFAR10.base_folder
        folder.mkdir()
        for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list:
            pixels = rng.integers(0, 256, (100, 3072), dtype=np.uint8)
            (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [*range(10)] * 10}))
        (folder / datasets.CIFAR10.meta["filename"]).write_bytes(pickle.dumps({"label_names": [*map(str, range(10))]}))
        monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    elif request.param == "folder":
        write_images(tmp_path, count=40)

    def made(**kwargs):
        module = {
            "digits": lambda: DigitsDataModule(**kwargs),
            "cifar": lambda: CIFAR10DataModule(root=tmp_path, augment=False, **kwargs),
            "folder": lambda: ImageFolderDataModule(tmp_path, image_size=4, augment=False, **kwargs),
        }[request.param]()
        module.setup("fit")
        return module

    return made


def labels(part):
    return torch.stack([label for _, label in part])


def changed(noisy, clean):
    return labels(noisy.train) != labels(clean.train)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_that_share_of_the_training_labels_alone_is_wrong(share, make):
    noisy, clean = make(label_noise=share), make()
    assert int(changed(noisy, clean).sum()) == round(share * len(clean.train))
    for name in ("train", "validation", "test"):
        one, other = getattr(noisy, name), getattr(clean, name)
        assert all(torch.equal(image, same) for (image, _), (same, _) in zip(one, other, strict=True))
        assert name == "train" or torch.equal(labels(one), labels(other))
    assert torch.equal(noisy.mean, clean.mean)
    assert set(labels(noisy.train).tolist()) <= set(range(clean.num_classes))


def test_the_loader_gives_the_wrong_labels(make):
    noisy, clean = make(label_noise=0.3, batch_size=20), make(batch_size=20)
    batches = zip(noisy.train_dataloader(), clean.train_dataloader(), strict=True)
    wrong = sum(int((one != other).sum()) for (_, one), (_, other) in batches)
    assert wrong == round(0.3 * len(clean.train))


def test_the_split_decides_which_labels_and_the_run_does_not(make):
    first, second = (make(seed=seed, split_seed=5, label_noise=0.3) for seed in (1, 2))
    torch.manual_seed(3)
    again = make(seed=1, split_seed=5, label_noise=0.3)
    for data in (second, again):
        assert torch.equal(labels(first.train), labels(data.train))
        assert all(torch.equal(x, y) for (x, _), (y, _) in zip(first.train, data.train, strict=True))
    orders = [torch.cat([y for _, y in data.train_dataloader()]) for data in (first, second)]
    assert not torch.equal(*orders)
    other = make(seed=1, split_seed=6, label_noise=0.3)
    assert not torch.equal(changed(other, make(split_seed=6)), changed(first, make(split_seed=5)))


def test_without_a_split_seed_the_seed_splits(make):
    one, other = make(seed=4, label_noise=0.3), make(seed=9, split_seed=4, label_noise=0.3)
    assert torch.equal(labels(one.train), labels(other.train))
    assert torch.equal(labels(one.validation), labels(other.validation))


def test_a_wrong_class_is_each_other_class_equally_often():
    data = DigitsDataModule(label_noise=0.9)
    clean = torch.full((20_000,), 3)
    counts = data.training_labels(clean).bincount(minlength=10)
    assert clean.eq(3).all(), "the labels given were written to"
    assert counts[3] == 2000
    assert (counts[torch.arange(10) != 3] - 2000).abs().max() < 5 * 2000**0.5


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("label_noise", 1, ValueError, "to be at least 0 and below 1, but got 1"),
        ("label_noise", -0.1, ValueError, "to be at least 0 and below 1, but got -0.1"),
        ("label_noise", float("nan"), ValueError, "to be at least 0 and below 1, but got nan"),
        ("label_noise", "0.3", TypeError, "to be a number, but got '0.3'"),
        ("label_noise", True, TypeError, "to be a number, but got True"),
        ("split_seed", -1, ValueError, "to be at least 0, but got -1"),
    ],
)
def test_bad_values(name, value, error, message):
    for data in (DigitsDataModule, CIFAR10DataModule):
        with pytest.raises(error, match=f"{data.__name__} needs {name} {message}"):
            data(**{name: value})
