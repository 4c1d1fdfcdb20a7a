"""The 1,797 handwritten digits that ship with scikit-learn."""

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

_TEST_SPLIT_SEED = 0  # the test part is the same in every study, whatever its seeds


class DigitsDataModule(pl.LightningDataModule):
    """Real 8 x 8 images of digits in three parts, stratified by class, with nothing to download.

    The test part (20%) is always the same; ``seed`` splits the rest into 1,077 training and 360 validation images and
    shuffles the training images. Images are float32 of shape (N, 1, 8, 8), normalised by the training part's mean and
    standard deviation; labels are int64.

    Args:
        seed: of the split and of the order of the training images.
        batch_size: of all loaders.
    """

    def __init__(self, *, seed: int = 0, batch_size: int = 64) -> None:
        super().__init__()
        self.seed = seed
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        """Loads and splits the images."""
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
        labels = torch.tensor(digits.target, dtype=torch.int64)
        rest, test = _split(torch.arange(len(labels)), labels, test_size=0.2, seed=_TEST_SPLIT_SEED)
        train, validation = _split(rest, labels, test_size=0.25, seed=self.seed)
        images = (images - images[train].mean()) / images[train].std()
        self.train, self.validation, self.test = (
            TensorDataset(images[part], labels[part]) for part in (train, validation, test)
        )

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """Shuffled by a generator of its own, so that nothing else that draws can change the order."""
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True, generator=generator)

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """The part on which arms are compared."""
        return DataLoader(self.validation, batch_size=len(self.validation))

    def test_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """The part for one last comparison."""
        return DataLoader(self.test, batch_size=len(self.test))


def _split(
    indices: torch.Tensor, labels: torch.Tensor, *, test_size: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = train_test_split(indices.numpy(), test_size=test_size, random_state=seed, stratify=labels[indices])
    return torch.from_numpy(first), torch.from_numpy(second)
