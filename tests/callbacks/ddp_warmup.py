"""Run in two processes by the tests: the ranks log different metrics and must end the warm-up at the same step."""

import json
import sys
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy

from lightning_tricks import ConstantWarmup, CosineDecay, LinearScaling
from tests.lr_recording import RecordingModule, loader


class Unsynchronised(RecordingModule):
    def training_step(self, batch, batch_idx):
        # Rank 0 crosses the threshold after its third step, rank 1 after its first.
        self.log("metric", (1.0 if self.global_rank else 0.25) * (self.trainer.global_step + 1), sync_dist=False)
        return super().training_step(batch, batch_idx)


def main(folder):
    tricks = [
        LinearScaling(base_batch_size=2),
        ConstantWarmup(steps=6, monitor="metric", threshold=0.7),
        CosineDecay(),
    ]
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=DDPStrategy(process_group_backend="gloo"),
        max_epochs=2,
        callbacks=tricks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    module = Unsynchronised()
    trainer.fit(module, loader(batches=8, batch_size=2))
    result = {"used": module.used, "weight": module.net.weight.tolist(), "end": tricks[1].early_end}
    Path(folder, f"rank{trainer.global_rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
