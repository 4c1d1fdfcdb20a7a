"""The subcommands of ``lightning-tricks`` and their options."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from jsonargparse import auto_cli
from jsonargparse.typing import PositiveFloat, PositiveInt
from rich.console import Console

from lightning_tricks.cli.arms import digit_arms
from lightning_tricks.cli.digits import DigitsDataModule
from lightning_tricks.cli.table import caption, comparison_table
from lightning_tricks.cli.tiny_cnn import TinyCNN
from lightning_tricks.study import Ablation
from lightning_tricks.study.arm import BASELINE


def ablate(
    *,
    seeds: PositiveInt = 3,
    epochs: PositiveInt = 10,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 0.05,
    accelerator: str = "cpu",
    out: Path | None = None,
) -> None:
    """Trains a small net on handwritten digits without tricks, with each trick alone and with all, and compares.

    Args:
        seeds: How often each arm is trained; each seed is a new split, new first weights and a new order of the data.
        epochs: Length of each run in epochs.
        batch_size: Images in a batch.
        lr: Learning rate of SGD with momentum 0.9, the same for all arms.
        accelerator: What to train on, as Lightning names it, for example cpu, gpu or auto.
        out: Folder for the finished runs, the table, a picture and a report; it is made if need be.
    """
    # The net is too small for a second thread to help, and a fixed number gives the same table on every machine.
    torch.set_num_threads(1)
    study = Ablation(
        partial(TinyCNN, lr=lr),
        partial(DigitsDataModule, batch_size=batch_size),
        digit_arms(lr=lr, max_epochs=epochs),
        num_seeds=seeds,
        directory=out,
        max_epochs=epochs,
        trainer_options={"accelerator": accelerator, "devices": 1},
    )
    result = study.run()
    if out is not None:
        result.write(out)
    console = Console()
    console.print(comparison_table(result.rows, baseline=BASELINE))
    record = result.records[0]
    sizes = {"train_size": record["train_size"], "validation_size": record["eval_size"]}
    console.print(caption(num_seeds=seeds, **sizes))


def run_command(args: Sequence[str] | None = None) -> None:
    """Parses the command line and runs the subcommand that it names; ``--batch-size`` is as good as ``--batch_size``.

    Args:
        args: the words after the command's name; ``None`` for those of the process.
    """
    auto_cli(
        {"ablate": ablate},
        args=[_underscored(word) for word in (sys.argv[1:] if args is None else args)],
        as_positional=False,
        prog="lightning-tricks",
        description="Training tricks of image classification, compared on data.",
    )


def _underscored(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value if name.startswith("--") else word
