"""Run in two processes by the tests: a study under DDP, and its confirmation."""

import json
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy

from lightning_tricks import CosineDecay
from lightning_tricks.study import Ablation
from tests.study.small import Data, Module


class Unsynchronised(Module):
    """Each rank logs another value, as a module does that forgets `sync_dist`."""

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", (1 - self.global_rank) * self.lr + self.global_rank * (1 - self.lr))


class Writers(pl.Callback):
    """Notes which ranks train."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, module):
        (self.folder / f"rank-{trainer.global_rank}").touch()


def main(folder):
    folder = Path(folder)
    torch.set_num_threads(1)
    study = Ablation(
        Unsynchronised,
        Data,
        {"cosine": lambda: [CosineDecay(), Writers(folder)]},
        num_seeds=2,
        max_epochs=1,
        directory=folder / "study",
        trainer_options={
            "accelerator": "cpu",
            "devices": 2,
            "strategy": DDPStrategy(process_group_backend="gloo"),
        },
        lr_grid=[0.1, 0.2],
    )
    result = study.run(progress=False)
    again = study.run(progress=False)
    confirmed = study.confirm("cosine", num_seeds=1, progress=False)
    rank = torch.distributed.get_rank()
    report = {"records": [list(result.records), list(confirmed.records)], "again": again.records == result.records}
    Path(folder, f"rank{rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
