import pytest
import torch
from torch.utils.data import TensorDataset

from lightning_tricks.data.base import ImageDataModule, stratified_split


class Counting(ImageDataModule):
    """Images that are their own numbers."""

    class_names = ("a", "b")
    in_channels, image_size = 1, 1

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        self.n, self.loads = n, 0

    def load(self):
        self.loads += 1
        part = TensorDataset(torch.arange(self.n), torch.zeros(self.n))
        return part, part, part


def sizes(n, batch_size):
    data = Counting(n, batch_size=batch_size)
    data.setup("fit")
    return [len(labels) for _, labels in data.train_dataloader()]


def test_a_last_batch_of_one_image_is_left_out():
    assert sizes(9, 4) == [4, 4]
    assert sizes(10, 4) == [4, 4, 2]
    assert sizes(3, 1) == [1, 1, 1]
    assert sizes(1, 4) == [1]


def test_images_are_loaded_once():
    data = Counting(4)
    for stage in ("fit", "validate", "test"):
        data.setup(stage)
    assert data.loads == 1


def test_evaluation_keeps_the_order_and_leaves_nothing_out():
    data = Counting(600, batch_size=3)
    data.setup("fit")
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert torch.equal(torch.cat([images for images, _ in loader]), torch.arange(600))


def test_stratified_split():
    labels = torch.tensor([0] * 20 + [1] * 8 + [2] * 12)
    indices = torch.arange(40).flip(0)
    first, second = stratified_split(indices, labels, share=0.25, seed=3)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(40))
    assert labels[second].bincount().tolist() == [5, 2, 3]
    again = stratified_split(indices, labels, share=0.25, seed=3)
    assert torch.equal(again[1], second)
    assert not torch.equal(stratified_split(indices, labels, share=0.25, seed=4)[1], second)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("batch_size", 0, ValueError),
        ("seed", -1, ValueError),
        ("num_workers", -1, ValueError),
        ("seed", 0.5, TypeError),
    ],
)
def test_bad_arguments(name, value, error):
    with pytest.raises(error, match=f"Counting needs {name} to be"):
        Counting(4, **{name: value})
