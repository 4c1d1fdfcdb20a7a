"""What the options of a study say to its Trainers."""

import warnings
from typing import Any

import lightning.pytorch as pl

from lightning_tricks.cli.options import TrainingOptions
from lightning_tricks.study.isolation import quiet


def trainer_options(training: TrainingOptions) -> dict[str, Any]:
    """What the options say to the Trainer.

    Args:
        training: the training.
    """
    devices = int(training.devices) if training.devices.isdigit() else training.devices
    return {"accelerator": training.accelerator, "devices": devices, "precision": training.precision}


def check_trainer(training: TrainingOptions) -> None:
    """Makes sure that the options make a Trainer, before anything is trained or written.

    Args:
        training: the training.

    Raises:
        ValueError: they make none; it says why.
        MisconfigurationException: likewise, in Lightning's words.
    """
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the trainings themselves warn
            pl.Trainer(
                logger=False, enable_checkpointing=False, enable_model_summary=False, **trainer_options(training)
            )
    except (TypeError, ImportError) as error:
        raise ValueError(f"--accelerator {training.accelerator} with --devices {training.devices}: {error}") from error
