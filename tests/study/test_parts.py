"""What a study says of datamodules whose parts overlap, change or stay the same."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from lightning_tricks.study import Ablation
from lightning_tricks.study.runs.training import Training
from tests.study.small import CPU, Module

IMAGES, LABELS = torch.randn(60, 3, 6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 5
ALL = TensorDataset(IMAGES, LABELS)


class Noisy(Dataset):
    """Images of a folder, augmented; the folder decides which images."""

    def __init__(self, root="photos", noise=1.0):
        self.root, self.noise = root, noise

    def __len__(self):
        return len(ALL)

    def __getitem__(self, index):
        image, label = ALL[index]
        return image.roll(len(self.root), -1) + self.noise * torch.randn(image.shape), label


def generator(seed):
    return torch.Generator().manual_seed(seed)


def data(make, **more):
    """A datamodule whose loaders are made of the parts that ``make`` gives for a seed; those that are loaders stay."""

    class Made(pl.LightningDataModule):
        def __init__(self, *, seed):
            super().__init__()
            self.seed = seed

        def setup(self, stage):
            self.train, self.validation, *test = make(self.seed)
            self.test = test[0] if test else Subset(ALL, range(50, 60))

        def train_dataloader(self):
            return loader(self.train, shuffle=True)

        def val_dataloader(self):
            return loader(self.validation, **more)

        def test_dataloader(self):
            return loader(self.test)

    return Made


def loader(part, **options):
    return part if isinstance(part, DataLoader) else DataLoader(part, batch_size=10, **options)


def parts_of_shuffled(seed):
    return random_split(Subset(ALL, range(50)), [40, 10], generator=generator(seed))


def study(datamodule, **kwargs):
    options = {"num_seeds": 2, "max_epochs": 1, "trainer_options": CPU} | kwargs
    return Ablation(Module, datamodule, {"same": list}, **options)


def notes(datamodule, **kwargs):
    return " ".join(study(datamodule, **kwargs).run(progress=False).notes())


# Each gives the parts for a seed, and how many samples of the evaluated part are trained on.
OVERLAPS = {
    "subsets": (lambda seed: (Subset(ALL, range(40)), Subset(ALL, range(35, 50))), 5),
    "subsets of subsets": (
        lambda seed: (Subset(Subset(ALL, range(10, 50)), range(20)), Subset(ALL, [9, 10, 29, 30])),
        2,
    ),
    "tensors of indices": (lambda seed: (Subset(ALL, torch.arange(40)), Subset(ALL, torch.arange(39, 50))), 1),
    "a split in setup": (lambda seed: random_split(ALL, [40, 20]), None),
    "all of it": (lambda seed: (ALL, ALL), 60),
    "samplers": (
        lambda seed: (
            DataLoader(ALL, 10, sampler=SubsetRandomSampler(range(40))),
            DataLoader(ALL, 10, sampler=SubsetRandomSampler(range(38, 50))),
        ),
        2,
    ),
    "weights": (
        lambda seed: (
            DataLoader(ALL, 10, sampler=WeightedRandomSampler([1.0] * 30 + [0.0] * 30, 10)),
            Subset(ALL, range(29, 50)),
        ),
        1,
    ),
    "batches of indices": (lambda seed: (DataLoader(ALL, batch_sampler=[[0, 1], [2, 3]]), Subset(ALL, [3, 4])), 1),
    "several data sets": (
        lambda seed: (ConcatDataset([Subset(ALL, range(10)), Subset(ALL, range(20, 40))]), Subset(ALL, range(35, 50))),
        5,
    ),
    "augmented": (lambda seed: ((noisy := Noisy()), Subset(noisy, range(10)))[:2], 10),
    "one folder with two transforms": (lambda seed: (Subset(Noisy(), range(40)), Noisy(noise=0.0)), 40),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_a_validation_part_that_is_trained_on_is_refused(name):
    make, shared = OVERLAPS[name]
    words = rf"Ablation needs a validation part that shares no sample with .* but {shared or '[0-9]+'} of its "
    with pytest.raises(ValueError, match=words):
        study(data(make)).run(progress=False)


SHUFFLED = pytest.mark.filterwarnings("ignore:Your `.*_dataloader`'s sampler has shuffling enabled")


@SHUFFLED
def test_a_shuffled_validation_part_is_refused_too():
    with pytest.raises(ValueError, match="but 5 of its 15 samples are trained on"):
        study(data(OVERLAPS["subsets"][0], shuffle=True)).run(progress=False)


APART = {
    "a seeded split": parts_of_shuffled,
    "samplers": lambda seed: (
        DataLoader(ALL, 10, sampler=SubsetRandomSampler(range(seed, 40))),
        DataLoader(ALL, 10, sampler=SubsetRandomSampler(range(40, 50 + seed))),
    ),
    "weights": lambda seed: (
        DataLoader(ALL, 10, sampler=WeightedRandomSampler([1.0] * (30 + seed) + [0.0] * (30 - seed), 10)),
        Subset(ALL, range(32, 50)),
    ),
    "two folders": lambda seed: (Noisy("train" + seed * "x"), Noisy("val")),
    "augmented": lambda seed: (Subset(Noisy(), range(seed, 40)), Subset(Noisy(noise=0.0), range(40, 50))),
}


@SHUFFLED
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("name", APART)
def test_parts_that_are_apart_are_fine(name, shuffle):
    said = notes(data(APART[name], shuffle=shuffle and not name.startswith(("samplers", "weights"))))
    assert "Caution" not in said
    assert "one split" not in said


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: (TensorDataset(IMAGES[:40], LABELS[:40]), TensorDataset(IMAGES[33:50], LABELS[33:50])),
        lambda seed: (
            TensorDataset(IMAGES[torch.randperm(40)], torch.zeros(40).long()),
            TensorDataset(IMAGES[33:50].flip(0), torch.zeros(17).long()),
        ),
        lambda seed: (
            Subset(doubled := TensorDataset(IMAGES.repeat(2, 1, 1, 1), LABELS.repeat(2)), range(40)),
            Subset(doubled, range(93, 110)),
        ),
    ],
    ids=["slices", "copies", "other indices"],
)
def test_equal_samples_of_both_parts_are_told(make):
    assert "Caution: up to 7 samples of the validation part equal samples of the training part." in notes(data(make))


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: (Subset(ALL, range(40)), Subset(ALL, range(40, 50))),
        lambda seed: (TensorDataset(IMAGES[:40], LABELS[:40]), TensorDataset(IMAGES[40:], LABELS[40:])),
        lambda seed: (Subset(Noisy(), range(40)), Subset(Noisy(noise=0.0), range(40, 50))),
        lambda seed: (Subset(ALL, torch.randperm(40).tolist()), Subset(ALL, range(40, 50))),
    ],
    ids=["indices", "tensors", "augmented", "another order"],
)
def test_an_ignored_seed_is_told(make):
    assert "All seeds have the same training and validation parts" in notes(data(make))
    assert "All seeds have" not in notes(data(make), num_seeds=1)


def test_arms_of_a_seed_with_different_parts_are_told():
    made = iter(range(100))

    def anew(seed):
        return parts_of_shuffled(next(made) // 2)  # setup is called for fit and for validation

    assert "Caution: arms of one seed had different parts" in notes(data(anew))


@pytest.mark.parametrize(
    "test_part",
    [
        lambda seed: Subset(ALL, range(40 + seed, 50 + seed)),
        lambda seed: TensorDataset(torch.randn(20, 3, 6, 4, generator=generator(seed)), LABELS[40:]),
        lambda seed: TensorDataset(IMAGES[40:], (LABELS[40:] + seed) % 5),
    ],
    ids=["indices", "images", "labels"],
)
def test_a_test_part_that_changes_with_the_seed_is_refused(test_part, monkeypatch):
    def make(seed):
        return Subset(ALL, range(30)), Subset(ALL, range(30, 40)), test_part(seed)

    trained, train = [], Training.run

    def run(self, arm, seed, **kwargs):
        trained.append(seed)
        return train(self, arm, seed, **kwargs)

    monkeypatch.setattr(Training, "run", run)
    with pytest.raises(ValueError, match=r"needs a datamodule with the same test part .* of seeds 2 and 3 differ"):
        study(data(make)).confirm("same", num_seeds=4, progress=False)
    assert trained == [2, 2, 3], "at the first run that shows it"


def test_a_test_part_that_is_trained_on_is_refused():
    with pytest.raises(ValueError, match=r"needs a test part that shares no sample .* but 5 of its 10 samples"):
        study(data(lambda seed: (Subset(ALL, range(30)), Noisy("other"), Subset(ALL, range(25, 35))))).confirm(
            "same", progress=False
        )


def test_a_fixed_test_part_is_fine():
    result = study(data(lambda seed: (*parts_of_shuffled(seed),))).confirm("same", num_seeds=2, progress=False)
    assert len({record["eval_part"] for record in result.records}) == 1
    assert len({record["train_part"] for record in result.records}) == 2
    assert "All seeds" not in " ".join(result.notes())


def test_a_test_part_that_is_normalised_by_each_training_part_is_the_same():
    """As the digits and folders of images are: by the mean and deviation of the seed's training images."""

    def make(seed):
        order = torch.randperm(40, generator=generator(seed))
        mean, std = (getattr(IMAGES[order[:30]], name)((0, 2, 3), keepdim=True) for name in ("mean", "std"))
        images = (IMAGES - mean) / std
        parts = [order[:30], order[30:], torch.arange(40, 60)]
        return [TensorDataset(images[part], LABELS[part]) for part in parts]

    result = study(data(make)).confirm("same", num_seeds=2, progress=False)
    assert len({record["eval_part"] for record in result.records}) == 1
    assert len({record["train_part"] for record in result.records}) == 2


def test_looking_at_the_parts_moves_no_run():
    """A run's generators are its own, so an augmentation draws the same before and after the look."""
    records = [study(data(APART["augmented"]), num_seeds=1).run(progress=False).records for _ in range(2)]
    assert [run["value"] for run in records[0]] == [run["value"] for run in records[1]]
