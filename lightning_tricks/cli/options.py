"""The options of the subcommands; `--help` shows the description of each attribute."""

import os
from dataclasses import dataclass
from pathlib import Path

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from lightning_tricks.cli.tricks import DEFAULT_TRICKS


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The images.

    Attributes:
        data: digits (1,797 real images of 8 x 8 pixels, nothing to download), cifar10, cifar100, or a folder of images:
            FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE with folders val, test or both beside train; what is missing
            is split off.
        data_dir: Folder of the CIFAR files; missing files are downloaded into it.
        image_size: Height and width, in pixels, to which the images of a folder are resized and cropped.
        loader_workers: Processes that load the images of a folder; 0 loads them in the training process.
        batch_size: Training images in a batch.
        label_noise: Share of the training labels that are replaced by a wrong class, drawn at random once per split;
            at least 0 and below 1. Validation and test labels stay right.
        augment: Crops and flips the training images of CIFAR or a folder at random; --no-augment leaves them as they
            are. The digits are never cropped or flipped.
    """

    data: str = "digits"
    data_dir: Path = Path("data")
    image_size: PositiveInt = 64
    loader_workers: NonNegativeInt = 0
    batch_size: PositiveInt = 64
    label_noise: float = 0.0
    augment: bool = True


def check_loader_workers(options: DataOptions) -> None:
    """ValueError if there are more loading processes than cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if options.loader_workers > cores:
        raise ValueError(
            f"--loader-workers needs to be at most {cores}, the cores of this machine, but got {options.loader_workers}"
        )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The training.

    Attributes:
        model: The net: tiny (three convolutions), any classification model of torchvision, such as resnet18, or of
            timm, such as timm/resnet18.
        pretrained: Starts from the published weights of the model, downloaded once; without it and without --weights
            from random ones.
        weights: FILE of weights to start from: a state_dict or a Lightning checkpoint of the same model. A last layer
            for another number of classes is replaced.
        epochs: Length of each run in epochs.
        lr: Learning rate of SGD with momentum 0.9, the same for all arms.
        lr_grid: Two or more learning rates, separated by commas, such as 0.03,0.1,0.3: each run of each arm takes the
            one that is best on a fifth of its training part, and --lr is not used. It costs one more run per rate.
        accelerator: Lightning's name of the hardware: cpu, gpu, auto.
        devices: Number of devices, a list such as 0,1, or auto.
        precision: Lightning's name of the arithmetic: 32-true, 16-mixed, bf16-mixed.
    """

    model: str = "tiny"
    pretrained: bool = False
    weights: Path | None = None
    epochs: PositiveInt = 10
    lr: PositiveFloat = 0.05
    lr_grid: str | None = None
    accelerator: str = "cpu"
    devices: str = "1"
    precision: str = "32-true"


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What is compared.

    Attributes:
        tricks: Names of tricks, separated by commas; each is compared alone with a baseline without tricks. Without it
            mixup, cutmix, label_smoothing, warmup and cosine are.
        recipe: Names of two or more tricks, separated by commas, or a published recipe, bag_of_tricks (arXiv
            1812.01187) or torchvision_2021, instead of --tricks; all of them together are compared with the baseline,
            and with the recipe less one of them.
        seeds: Number of trainings per arm; each seed has its own split, first weights and order of the data.
            Below 10 the study is a demonstration.
        margin: The largest difference, in points of accuracy, that does not matter to you. State it before you see any
            result; without it, no arm gets the verdict "no difference".
    """

    tricks: str | None = None
    recipe: str | None = None
    seeds: PositiveInt = 3
    margin: PositiveFloat | None = None


@dataclass(frozen=True, kw_only=True)
class ShareOptions:
    """Where the study is kept.

    Attributes:
        out: Folder of the study, created if missing. Finished runs in it are not repeated; the folder of another study
            is refused.
        shard: I/N does the I-th of N shares of the runs: start one process or machine per share, with the same folder.
    """

    out: Path = Path("ablation")
    shard: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions:
    """What is confirmed.

    Attributes:
        arm: The arm that you have chosen from the study's table.
        seeds: Number of trainings of the arm and of the baseline, with seeds that the study did not use.
        out: Folder of the finished study.
    """

    arm: str
    seeds: PositiveInt = 10
    out: Path = Path("ablation")


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """What is drawn.

    Attributes:
        tricks: Names of tricks, separated by commas; each is drawn alone, and all of them together in this order.
        images: Number of images of the batch that are shown.
        seed: Seed of the data's split and order and of the tricks' draws.
        epochs: Length of the run whose learning rate is drawn.
        lr: Learning rate that the tricks' factors multiply.
        out: Folder for batch.png and learning_rate.png, created if missing.
    """

    tricks: str = ",".join(DEFAULT_TRICKS)
    images: PositiveInt = 6
    seed: NonNegativeInt = 1  # with seed 0 Mixup and CutMix mix almost nothing
    epochs: PositiveInt = 10
    lr: PositiveFloat = 0.05
    out: Path = Path("preview")
