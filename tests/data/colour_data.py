"""A data module that has nothing of the command's own."""

import lightning.pytorch as pl

from tests.plain import image_loader


class ColourData(pl.LightningDataModule):
    def train_dataloader(self):
        return image_loader(num_classes=10)
