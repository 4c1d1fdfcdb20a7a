import re

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_tricks.data import DataError, ImageFolderDataModule
from lightning_tricks.data.image_folder import read_image
from tests.data.image_files import CLASSES, write_images


def load(root, **kwargs):
    data = ImageFolderDataModule(root, **({"image_size": 8, "batch_size": 6} | kwargs))
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("flat"))


@pytest.fixture(scope="module")
def parted(tmp_path_factory):
    root = tmp_path_factory.mktemp("parted")
    write_images(root / "train")
    write_images(root / "test", count=2, seed=1)
    return root


def paths(*parts):
    return [path for part in parts for path in part.paths]


def test_one_level(flat):
    data = load(flat)
    assert (list(data.class_names), data.num_classes, data.in_channels) == (list(CLASSES), 3, 3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 6, 6]
    assert sorted(paths(data.train, data.validation, data.test)) == sorted(flat.glob("*/*.png"))
    for part in (data.train, data.validation, data.test):
        assert part.labels.bincount().unique().numel() == 1
        assert [CLASSES[label] for label in part.labels] == [path.parent.name for path in part.paths]


@pytest.mark.parametrize("names", [("val",), ("test",), ("val", "test")])
def test_folders_are_the_parts_that_their_names_say(names, tmp_path):
    write_images(tmp_path / "train")
    for seed, name in enumerate(names):
        write_images(tmp_path / name, count=2, seed=seed + 1)
    data = load(tmp_path)
    parts = {"train": data.train, "val": data.validation, "test": data.test}
    for name in names:
        assert sorted(parts[name].paths) == sorted((tmp_path / name).glob("*/*.png"))
    split = [part for name, part in parts.items() if name not in names]
    assert sorted(paths(*split)) == sorted((tmp_path / "train").glob("*/*.png"))
    for part in parts.values():
        assert [CLASSES[label] for label in part.labels] == [path.parent.name for path in part.paths]
        assert part.labels.bincount().unique().numel() == 1


def test_without_a_split_one_image_per_class_is_enough_and_the_statistics_take_all_classes(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_tricks.data.image_folder._STATISTICS_IMAGES", 20)
    for name in ("train", "val", "test"):
        write_images(tmp_path / name, count=40 if name == "train" else 1)
    data = load(tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [120, 3, 3]
    assert torch.allclose(data.mean, torch.full((3,), 96 / 255), atol=0.08)


@pytest.mark.parametrize("layout", ["flat", "parted"])
def test_the_seed_splits_and_never_touches_the_test_part(layout, request):
    root = request.getfixturevalue(layout)
    first, second, again = load(root, seed=0), load(root, seed=1), load(root, seed=0)
    assert first.test.paths == second.test.paths
    assert first.validation.paths == again.validation.paths
    assert set(first.validation.paths) != set(second.validation.paths)


def test_normalised_by_the_training_part(flat):
    data = load(flat, image_size=8)
    assert torch.allclose(data.mean, torch.full((3,), 96 / 255), atol=0.02)
    images = torch.stack([data.train.transform.transforms[-1](torch.zeros(3, 8, 8)) for _ in range(1)])
    assert torch.allclose(images[0, :, 0, 0], -data.mean / data.std)
    label_means = {int(label): image.mean().item() for image, label in (data.validation[i] for i in range(6))}
    expected = {k: ((64 * k + 31.5) / 255 - data.mean.mean().item()) / data.std.mean().item() for k in range(3)}
    assert label_means == pytest.approx(expected, abs=0.15)


def test_images_of_one_colour_stay_finite(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (9, 7)).save(tmp_path / name / f"{i}.png")
    data = load(tmp_path)
    assert torch.equal(data.train[0][0], torch.zeros(3, 8, 8))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(flat, workers):
    data = load(flat, num_workers=workers, image_size=9)
    images, labels = next(iter(data.train_dataloader()))
    assert (images.shape, images.dtype) == ((6, 3, 9, 9), torch.float32)
    assert (labels.shape, labels.dtype) == ((6,), torch.int64)


@pytest.mark.parametrize("workers", [0, 2])
def test_draws_come_from_the_seed_alone_and_differ_by_epoch(flat, workers):
    def epochs(noise):
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        loader = load(flat, seed=4, num_workers=workers, batch_size=18).train_dataloader()
        batches = [next(iter(loader)) for _ in range(2)]
        assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"
        return [images[labels.argsort(stable=True)] for images, labels in batches]

    first, second = epochs(0), epochs(1)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0].sum((1, 2, 3)).sort().values, first[1].sum((1, 2, 3)).sort().values)


def test_the_generators_of_gpus_are_left_alone(flat, monkeypatch):
    data, seeded = load(flat), []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    data.train[0]
    assert seeded == []


def test_training_images_are_cropped_anew_and_others_are_not(flat):
    data = load(flat)
    assert not torch.equal(data.train[0][0], data.train[0][0])
    assert torch.equal(data.validation[0][0], data.validation[0][0])
    assert torch.equal(data.test[0][0], data.test[0][0])


def test_without_augmentation_training_images_are_prepared_as_the_others(flat):
    data = load(flat, augment=False)
    assert torch.equal(data.train[0][0], data.train[0][0])
    assert torch.equal(data.train[0][0], data.validation.transform(read_image(data.train.paths[0])))


def test_training_images_are_flipped_half_of_the_time(tmp_path):
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (60, 1, 3))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.fromarray(ramp).save(tmp_path / name / f"{i}.png")
    data = load(tmp_path)
    flipped = sum(bool(image[0, 0, 0] > image[0, 0, -1]) for image in (data.train[0][0] for _ in range(60)))
    assert 15 < flipped < 45


def test_gray_and_palette_images_become_rgb(tmp_path):
    Image.new("L", (5, 4), 7).save(tmp_path / "gray.png")
    Image.new("P", (5, 4)).save(tmp_path / "palette.png")
    assert [read_image(tmp_path / name).mode for name in ("gray.png", "palette.png")] == ["RGB", "RGB"]
    assert read_image(tmp_path / "gray.png").getpixel((0, 0)) == (7, 7, 7)


def test_files_that_are_no_images_and_hidden_folders_are_passed_over(tmp_path):
    write_images(tmp_path, count=5)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "ant" / "notes.txt").write_text("ants")
    (tmp_path / "readme.txt").write_text("images")
    assert len(paths(*(getattr(load(tmp_path), name) for name in ("train", "validation", "test")))) == 15


def bad_missing(root):
    return root / "nowhere", r"nowhere: cannot read this folder: No such file or directory"


def bad_empty(root):
    (root / "ant").mkdir()
    (root / "bee").mkdir()
    return root, r"there are no images in its folders \(one folder per class, files ending in .*\.jpg"


def bad_one_class(root):
    return write_images(
        root, classes=("ant",)
    ), r"needs two or more classes, one folder per class, but there is only 'ant'"


def bad_few(root):
    write_images(root, classes=("ant", "bee"))
    return write_images(root, classes=("cow",), count=4), r"cow: needs at least 5 images per class, but there are 4"


def bad_train_alone(root):
    write_images(root / "train")
    return root, r"has a folder 'train', but parts need the folder 'train' and 'val', 'test' or both"


def bad_no_train(root):
    for name in ("val", "test"):
        write_images(root / name)
    return root, r"has a folder 'val', but parts need the folder 'train'"


def bad_empty_class_of_a_part(root):
    for name in ("train", "val"):
        write_images(root / name)
    for path in (root / "val" / "bee").iterdir():
        path.unlink()
    return root, r"val/bee: needs at least 1 image per class, but there are 0"


def bad_other_classes(root):
    write_images(root / "train")
    write_images(root / "val", classes=("ant", "bee", "dog"))
    return root, r"do not have the same classes; in only one: cow, dog"


BAD = [make for name, make in list(globals().items()) if name.startswith("bad_")]


@pytest.mark.parametrize("make", BAD)
def test_bad_folders(make, tmp_path):
    root, message = make(tmp_path)
    with pytest.raises(DataError, match=f"{re.escape(str(tmp_path))}.*{message}"):
        ImageFolderDataModule(root)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_truncated_file_is_named(content, tmp_path):
    path = write_images(tmp_path, classes=("ant",), count=1) / "ant" / "0.png"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: cannot read this image: "):
        read_image(path)


def test_bad_size(tmp_path):
    with pytest.raises(ValueError, match="ImageFolderDataModule needs image_size to be at least 1"):
        ImageFolderDataModule(tmp_path, image_size=0)
