import hashlib
import pickle

import numpy as np
import pytest
import torch
from torchvision import datasets

from lightning_tricks.data import CIFAR10DataModule, CIFAR100DataModule, DataError

SOURCES = {CIFAR10DataModule: datasets.CIFAR10, CIFAR100DataModule: datasets.CIFAR100}


@pytest.fixture(params=SOURCES, ids=lambda module: module.__name__)
def small(request, tmp_path, monkeypatch):
    """The files of a small CIFAR in its own format, with their own checksums, and what makes its data module."""
    module, source = request.param, SOURCES[request.param]
    key, classes = ("labels", 10) if source is datasets.CIFAR10 else ("fine_labels", 100)
    rng = np.random.default_rng(0)
    folder = tmp_path / source.base_folder
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(per_class):
        labels = np.repeat(np.arange(classes), per_class)
        pixels = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        pixels[:, 1024:2048] //= 2  # the channels differ in their statistics
        pixels[:, 0] = labels
        return {"data": pixels, key: labels.tolist()}

    train = [write(name, batch(10)) for name, _ in source.train_list]
    test = [write(name, batch(1)) for name, _ in source.test_list]
    meta = write(source.meta["filename"], {source.meta["key"]: list(map(str, range(classes)))})
    monkeypatch.setattr(source, "train_list", train)
    monkeypatch.setattr(source, "test_list", test)
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": meta[1]})

    def make(**kwargs):
        data = module(root=tmp_path, **kwargs)
        data.prepare_data()
        data.setup("fit")
        return data

    make.folder, make.classes, make.count = folder, classes, 10 * classes * len(train)
    return make


def pixels(data, part):
    """The bytes of a part, from its normalised images."""
    images = torch.stack([part[i][0] for i in range(len(part))])
    return ((images * data.std.view(3, 1, 1) + data.mean.view(3, 1, 1)) * 255).round()


def test_parts(small):
    data = small()
    assert data.num_classes == small.classes
    assert [len(part) for part in (data.train, data.validation, data.test)] == [
        small.count * 9 // 10,
        small.count // 10,
        small.classes,
    ]
    assert data.train.labels.bincount().unique().tolist() == [small.count * 9 // 10 // small.classes]
    first = pixels(data, data.validation)[:, 0, 0, 0].long()
    assert torch.equal(first, data.validation.labels), "images and labels have gone different ways"
    keys = {image.numpy().tobytes() for part in (data.train, data.validation, data.test) for image in part.images}
    assert len(keys) == small.count + small.classes


def test_normalised_by_the_training_part(small):
    data = small(seed=3)
    images = data.train.images.double() / 255
    assert torch.allclose(data.mean.double(), images.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(data.std.double(), images.std((0, 2, 3), correction=0), atol=1e-6)
    assert data.mean[1] < 0.7 * data.mean[0]


def test_the_seed_splits_and_never_touches_the_test_part(small):
    first, second, again = small(seed=0), small(seed=1), small(seed=0)
    assert torch.equal(first.test.images, second.test.images)
    assert torch.equal(first.validation.images, again.validation.images)
    assert not torch.equal(first.validation.images, second.validation.images)


def test_batches(small):
    data = small(batch_size=32)
    images, labels = next(iter(data.train_dataloader()))
    assert (images.shape, images.dtype) == ((32, 3, 32, 32), torch.float32)
    assert (labels.shape, labels.dtype) == ((32,), torch.int64)
    images, labels = next(iter(data.val_dataloader()))
    assert torch.equal(labels, data.validation.labels[: len(labels)])
    assert torch.equal(images[5], data.validation[5][0])


def test_crops_and_flips_by_a_slow_reference(small):
    data = small(seed=2)
    crops = 0
    for i in range(40):
        image = data.train.images[i].numpy()
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
        possible = {}
        for top in range(9):
            for left in range(9):
                crop = padded[:, top : top + 32, left : left + 32]
                possible[crop.tobytes()] = (top, left, False)
                possible[crop[:, :, ::-1].tobytes()] = (top, left, True)
        found = pixels(data, [data.train[i]])[0].byte().numpy().tobytes()
        assert found in possible
        crops += possible[found] != (4, 4, False)
    assert crops > 30


def test_draws_come_from_the_seed_alone(small):
    def batch(noise):
        torch.manual_seed(noise)
        data = small(seed=5, batch_size=16)
        state = torch.get_rng_state()
        loader = data.train_dataloader()
        epochs = [next(iter(loader))[0] for _ in range(2)]
        assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"
        return epochs

    first, second = batch(0), batch(1)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], first[1])


def test_without_augmentation_images_stay_as_they_are(small):
    data = small(augment=False)
    assert torch.equal(pixels(data, data.train).byte(), data.train.images)


def test_a_damaged_file_is_named_with_its_folder(small, monkeypatch):
    source = datasets.CIFAR10 if small.classes == 10 else datasets.CIFAR100
    path = small.folder / source.test_list[0][0]
    path.write_bytes(path.read_bytes()[:100])

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    with pytest.raises(DataError, match=rf"{small.folder.parent}: cannot download CIFAR100? there: no route to host"):
        small()
    module = CIFAR10DataModule if small.classes == 10 else CIFAR100DataModule
    with pytest.raises(DataError, match=rf"{small.folder.parent}: cannot read CIFAR100? there: .*corrupted"):
        module(root=small.folder.parent).setup("fit")
