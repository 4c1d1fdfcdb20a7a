"""The image classifier that the command trains; it knows no trick."""

from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torchmetrics import Accuracy

from lightning_tricks.functional.checks import check_choice, check_flag, check_integer, check_number
from lightning_tricks.models.backbones import TINY, build_model
from lightning_tricks.optim import zero_gamma as zero_last_scales
from lightning_tricks.optim.adabound import AdaBound
from lightning_tricks.optim.param_groups import weight_decay_groups

_ADABOUND_SHARE = 0.01  # of the final rate: its authors' defaults are 1e-3 and 0.1


class Classifier(pl.LightningModule):
    """Trains a net by cross-entropy; logs ``train_acc``, ``val_acc`` and ``test_acc``.

    Args:
        model: ``tiny``, the name of a classification model of torchvision, or ``timm/`` and the name of one of timm.
        num_classes: number of classes, at least 2. ``None`` takes that of the data under ``lightning-tricks fit``, and
            10, that of the digits, elsewhere.
        in_channels: channels of the images; ``None`` as above, 1 for the digits.
        image_size: height and width of the images in pixels; ``None`` as above, 8 for the digits.
        pretrained: whether to start from the published weights of the model, which are downloaded once.
        weights: file of a state_dict or a Lightning checkpoint of the same model to start from; a last layer for
            another number of classes stays random.
        lr: learning rate of the optimizer, above 0, constant. AdaBound ends with it and starts with a
            hundredth of it.
        weight_decay: of the optimizer, at least 0.
        optimizer: ``sgd``, with Nesterov momentum 0.9, or ``adabound``.
        bias_decay: whether weight decay includes biases and the parameters of normalisations.
        zero_gamma: whether residual blocks start as the identity.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of its range, there is no such model or optimizer, the model cannot take images
            of this size, the weights cannot be had or do not fit, or ``zero_gamma`` finds no residual block.

    Example:
        >>> import torch
        >>> from lightning_tricks.models import Classifier
        >>> net = Classifier(num_classes=10, in_channels=1, image_size=8)
        >>> net(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        *,
        model: str = TINY,
        num_classes: int | None = None,
        in_channels: int | None = None,
        image_size: int | None = None,
        pretrained: bool = False,
        weights: str | Path | None = None,
        lr: float = 0.05,
        weight_decay: float = 5e-4,
        optimizer: Literal["sgd", "adabound"] = "sgd",
        bias_decay: bool = True,
        zero_gamma: bool = False,
    ) -> None:
        super().__init__()
        num_classes = 10 if num_classes is None else check_integer("Classifier", "num_classes", num_classes, low=2)
        in_channels = 1 if in_channels is None else in_channels
        image_size = 8 if image_size is None else image_size
        self.lr = check_number("Classifier", "lr", lr, above=0)
        self.weight_decay = check_number("Classifier", "weight_decay", weight_decay, low=0)
        self.optimizer = check_choice("Classifier", "optimizer", optimizer, ("sgd", "adabound"))
        self.bias_decay = bias_decay
        self.net = build_model(
            model,
            num_classes=num_classes,
            in_channels=in_channels,
            image_size=image_size,
            pretrained=check_flag("Classifier", "pretrained", pretrained),
            weights=weights,
        )
        if zero_gamma:
            zero_last_scales(self.net)
        self.train_acc = Accuracy("multiclass", num_classes=num_classes)
        self.val_acc = Accuracy("multiclass", num_classes=num_classes)
        self.test_acc = Accuracy("multiclass", num_classes=num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (N, num_classes) for images of shape (N, in_channels, H, W)."""
        return self.net(x)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """The cross-entropy; logs ``train_acc``."""
        x, y = batch
        logits = self(x)
        self.train_acc(logits, y)
        self.log("train_acc", self.train_acc, on_step=False, on_epoch=True)
        return F.cross_entropy(logits, y)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Logs ``val_acc``."""
        x, y = batch
        self.val_acc(self(x), y)
        self.log("val_acc", self.val_acc)

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Logs ``test_acc``."""
        x, y = batch
        self.test_acc(self(x), y)
        self.log("test_acc", self.test_acc)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer, at a constant rate."""
        groups = self.parameters() if self.bias_decay else weight_decay_groups(self, self.weight_decay)
        if self.optimizer == "adabound":
            return AdaBound(groups, lr=_ADABOUND_SHARE * self.lr, final_lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(groups, lr=self.lr, momentum=0.9, nesterov=True, weight_decay=self.weight_decay)
