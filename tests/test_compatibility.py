"""The tricks beside what else a Trainer can be told; each test is a cell of the matrix in README.md."""

import csv
import math
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateFinder,
    LearningRateMonitor,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_tricks import CosineDecay, CutMix, GradualWarmup, Mixup, RandomChoice, SoftTarget
from tests.lr_recording import recording
from tests.plain import PlainModule, image_loader
from tests.scripts import run_script

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:GradualWarmup lasts 4 optimizer steps, but the run only"),
]
STEPS = 16  # as many as two epochs of eight batches


def tricks():
    return [RandomChoice([Mixup(alpha=1.0), CutMix()]), GradualWarmup(steps=4), CosineDecay(total_steps=STEPS)]


def factor(step):
    warm = min((step + 1) / 4, 1)
    return warm * 0.5 * (1 + math.cos(math.pi * min(max(step - 4, 0) / (STEPS - 4), 1)))


class Module(PlainModule):
    """Keeps the labels that it saw and the learning rates that its optimizer used."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch[1])
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        assert not isinstance(y, SoftTarget)
        self.log("val_loss", F.cross_entropy(self(x), y))

    def configure_optimizers(self):
        self.optimizer = recording(torch.optim.SGD)(self.parameters(), lr=self.lr, momentum=0.9)
        return self.optimizer


def loader(n=64):
    return image_loader(n=n)


def check(module, steps, nominal=lambda step: 0.1):
    assert len(module.seen) >= steps
    assert all(isinstance(y, SoftTarget) for y in module.seen)
    assert any(len(set(y.components[0][1].tolist()) - {1.0}) > 0 for y in module.seen)
    used = [rates[0] for rates in module.optimizer.used]
    assert len(used) == steps
    for step, lr in enumerate(used):
        assert lr == pytest.approx(nominal(step) * factor(step), rel=1e-9, abs=1e-12)


TRAINER_CELLS = {
    "plain": ({}, 16),
    "gradient clipping by norm": ({"gradient_clip_val": 0.1}, 16),
    "gradient clipping by value": ({"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}, 16),
    "accumulation": ({"accumulate_grad_batches": 3}, 6),
    "overfit_batches": ({"overfit_batches": 2}, 4),
    "fast_dev_run": ({"fast_dev_run": 3}, 3),
    "limit_train_batches": ({"limit_train_batches": 5}, 10),
    "reload_dataloaders_every_n_epochs": ({"reload_dataloaders_every_n_epochs": 1}, 16),
    "val_check_interval": ({"val_check_interval": 0.5}, 16),
    "max_steps": ({"max_steps": 9}, 9),
    "detect_anomaly": ({"detect_anomaly": True}, 16),
    "barebones": ({"barebones": True, "logger": None, "enable_checkpointing": None, "enable_progress_bar": None}, 16),
}


@pytest.mark.parametrize(("arguments", "steps"), TRAINER_CELLS.values(), ids=TRAINER_CELLS.keys())
@pytest.mark.filterwarnings("ignore:.*overfit")
@pytest.mark.filterwarnings("ignore:.*barebones")
@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_trainer_arguments(make_trainer, arguments, steps):
    module = Module()
    if "barebones" in arguments:
        arguments = arguments | {"enable_model_summary": None, "num_sanity_val_steps": None}
    trainer = make_trainer(callbacks=tricks(), **({"max_epochs": 2} | arguments))
    trainer.fit(module, loader(), loader(16))
    check(module, steps)


def test_a_closure_that_is_called_several_times(make_trainer):
    """Each call for a batch gets the same images and labels, at the user's own learning rate."""

    class LBFGS(torch.optim.LBFGS):
        def step(self, closure):
            self.used.append([self.param_groups[0]["lr"]])
            return super().step(closure)

    class Closing(Module):
        def training_step(self, batch, batch_idx):
            assert self.optimizer.param_groups[0]["lr"] == self.lr
            return super().training_step(batch, batch_idx)

        def configure_optimizers(self):
            self.optimizer = LBFGS(self.parameters(), lr=self.lr, max_iter=3)
            self.optimizer.used = []
            return self.optimizer

    module = Closing()
    make_trainer(callbacks=tricks(), max_epochs=2).fit(module, loader())
    check(module, 16)
    assert len(module.seen) > 2 * 16
    assert len({id(y) for y in module.seen}) == 16


def test_several_optimizers_under_manual_optimisation(make_trainer):
    class Two(Module):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.manual_backward(super().training_step(batch, batch_idx))
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

        def configure_optimizers(self):
            self.optimizer = recording(torch.optim.SGD)([self.net[1].weight], lr=self.lr)
            self.other = recording(torch.optim.Adam)([self.net[1].bias], lr=0.01)
            return self.optimizer, self.other

    module = Two()
    make_trainer(callbacks=tricks(), max_epochs=2).fit(module, loader())
    check(module, 16)
    used = [rates[0] for rates in module.other.used]
    assert used == pytest.approx([0.01 * factor(step) for step in range(16)], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"])
@pytest.mark.filterwarnings("ignore:You passed .*precision='16-mixed'")  # which becomes bf16-mixed on the CPU
def test_precisions(make_trainer, precision):
    module = Module()
    make_trainer(callbacks=tricks(), max_epochs=2, precision=precision).fit(module, loader())
    check(module, 16)
    assert all(y.components[0][1].dtype == torch.float32 for y in module.seen)
    assert module.net[1].weight.dtype == {
        "64-true": torch.float64,
        "bf16-true": torch.bfloat16,
        "16-true": torch.float16,
    }.get(precision, torch.float32)


@pytest.mark.parametrize("order", [1, -1])
def test_early_stopping(make_trainer, order):
    """The second epoch is no better by 2, so it is the last of four."""
    module = Module()
    stopping = EarlyStopping("train_acc", mode="max", patience=0, min_delta=2.0)
    make_trainer(callbacks=[*tricks(), stopping][::order], max_epochs=4).fit(module, loader())
    check(module, 16)


@pytest.mark.parametrize("order", [1, -1])
def test_an_average_of_the_weights(make_trainer, order):
    """It is the average of the weights after each step, and the module ends with it."""

    class Averaged(Module):
        expected = None

        def on_train_batch_end(self, outputs, batch, batch_idx):
            now = self.net[1].weight.detach().clone()
            self.expected = now if self.expected is None else 0.5 * self.expected + 0.5 * now

    module = Averaged()
    make_trainer(callbacks=[*tricks(), EMAWeightAveraging(decay=0.5)][::order], max_epochs=2).fit(module, loader())
    check(module, 16)
    torch.testing.assert_close(module.net[1].weight.detach(), module.expected)


def test_stochastic_weight_averaging_sets_the_nominal_learning_rate(make_trainer):
    """From its first epoch on, its own rate takes the place of the module's, and the factor multiplies it."""
    module = Module()
    averaging = StochasticWeightAveraging(
        swa_lrs=0.05, swa_epoch_start=1, annealing_epochs=1, annealing_strategy="linear"
    )
    make_trainer(callbacks=[*tricks(), averaging], max_epochs=2).fit(module, loader())
    check(module, 16, nominal=lambda step: 0.1 if step < 8 else 0.05)


def test_a_backbone_that_is_unfrozen(make_trainer):
    class Finetuned(Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(72, 72)
            self.net = nn.Linear(72, 5)

        def forward(self, x):
            return self.net(self.backbone(x.flatten(1)))

        def configure_optimizers(self):
            trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
            self.optimizer = recording(torch.optim.SGD)(trained, lr=self.lr)
            return self.optimizer

    module = Finetuned()
    finetuning = BackboneFinetuning(
        unfreeze_backbone_at_epoch=1, backbone_initial_lr=0.02, lambda_func=lambda epoch: 1.0
    )
    make_trainer(callbacks=[*tricks(), finetuning], max_epochs=2).fit(module, loader())
    check(module, 16)
    rates = [rates[1] for rates in module.optimizer.used if len(rates) > 1]
    assert rates == pytest.approx([0.02 * factor(step) for step in range(8, 16)], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("finder", "tried"),
    [
        (LearningRateFinder(num_training_steps=20), 20),
        (BatchSizeFinder(max_trials=1, steps_per_trial=2, init_val=4), 2),
    ],
    ids=["LearningRateFinder", "BatchSizeFinder"],
)
def test_finders(make_trainer, finder, tried):
    """They try the plain module, and the run that follows has the tricks."""

    class Sized(Module):
        batch_size = 2

        def train_dataloader(self):
            return image_loader(n=64, batch_size=self.batch_size)

        def val_dataloader(self):
            return loader(16)

    module = Sized()
    trainer = make_trainer(callbacks=[finder, *tricks()], max_epochs=2)
    trainer.fit(module)
    assert "training_step" not in vars(module)
    assert (module.lr, module.batch_size) != (0.1, 2)
    found, trained = module.seen[: -trainer.global_step], module.seen[-trainer.global_step :]
    assert len(found) == tried
    assert not any(isinstance(y, SoftTarget) for y in found)
    assert all(isinstance(y, SoftTarget) and len(y) == module.batch_size for y in trained)
    used = [rates[0] for rates in module.optimizer.used][-trainer.global_step :]
    assert used == pytest.approx([module.lr * factor(step) for step in range(len(used))], rel=1e-9, abs=1e-12)


def lr_in_csv(logger):
    with Path(logger.experiment.metrics_file_path).open() as file:
        rows = list(csv.DictReader(file))
    return {int(row["step"]): float(row["lr-SGD"]) for row in rows if row["lr-SGD"]}


def lr_in_tensorboard(logger):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(logger.log_dir).Reload()
    return {event.step: event.value for event in events.Scalars("lr-SGD")}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("logger", "read"), [(TensorBoardLogger, lr_in_tensorboard), (CSVLogger, lr_in_csv)], ids=["TensorBoard", "CSV"]
)
def test_loggers_and_the_monitor(make_trainer, tmp_path, logger, read, order):
    """They hold the learning rate that each step used, to the single precision of TensorBoard."""
    module, logger = Module(), logger(tmp_path)
    callbacks = [*tricks(), LearningRateMonitor()][::order]
    make_trainer(callbacks=callbacks, max_epochs=2, logger=logger, log_every_n_steps=1).fit(module, loader())
    check(module, 16)
    used = {step: rates[0] for step, rates in enumerate(module.optimizer.used)}
    assert read(logger) == pytest.approx(used, rel=1e-6)


def test_an_iterable_data_set(make_trainer):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(loader().dataset)

    module = Module()
    make_trainer(callbacks=tricks(), max_epochs=2).fit(module, DataLoader(Stream(), batch_size=8))
    check(module, 16)


def test_a_combined_loader_whose_batch_is_pointed_out(make_trainer):
    class Two(Module):
        def training_step(self, batch, batch_idx):
            assert not isinstance(batch["b"][1], SoftTarget)
            return super().training_step(batch["a"], batch_idx)

    module = Two()
    mixup = Mixup(alpha=1.0, input_key=("a", 0), target_key=("a", 1))
    trainer = make_trainer(callbacks=[mixup, *tricks()[1:]], max_epochs=2)
    trainer.fit(module, pl.utilities.CombinedLoader({"a": loader(), "b": loader(16)}, "max_size_cycle"))
    check(module, 16)


def test_torchvision_and_timm_models(make_trainer):
    import timm
    from torchvision.models import mobilenet_v3_small

    for net in (mobilenet_v3_small(num_classes=5), timm.create_model("resnet10t", num_classes=5, pretrained=False)):
        module = Module()
        module.net = net
        images = image_loader(n=8, batch_size=4, size=(40, 32))
        make_trainer(callbacks=tricks(), max_epochs=1).fit(module, images)
        check(module, 2)


def test_a_hugging_face_model_that_computes_its_own_loss(make_trainer):
    import transformers

    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        num_labels=5,
    )

    class ViT(Module):
        def __init__(self):
            super().__init__()
            self.net = transformers.ViTForImageClassification(config)

        def training_step(self, batch, batch_idx):
            self.seen.append(batch["labels"])
            output = self.net(**batch)
            expected = F.cross_entropy(output.logits, batch["labels"].probabilities(5))
            torch.testing.assert_close(output.loss, expected)
            return output.loss

    def collate(samples):
        images, labels = zip(*samples, strict=True)
        return {"pixel_values": torch.stack(images), "labels": torch.stack(labels)}

    data = image_loader(n=64, size=(16, 16)).dataset
    module = ViT()
    make_trainer(callbacks=tricks(), max_epochs=2).fit(module, DataLoader(data, batch_size=8, collate_fn=collate))
    check(module, 16)


STRATEGY_SCRIPT = """
    import sys
    import lightning.pytorch as pl
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard
    from tests.plain import image_loader
    from tests.test_compatibility import Module, check, tricks

    class Checked(Module):
        def configure_model(self):
            if isinstance(self.trainer.strategy, ModelParallelStrategy):
                fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

        def on_train_end(self):
            check(self, 8)
            open(f"trained on rank {self.global_rank}", "w").close()

    if __name__ == "__main__":
        name = sys.argv[1]
        strategy = name
        if name == "fully_shard":
            strategy = ModelParallelStrategy(2, 1, process_group_backend="gloo")
        pl.Trainer(
            accelerator="cpu", devices=2, strategy=strategy, max_epochs=2, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=tricks(),
        ).fit(Checked(), image_loader(n=64))
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "fully_shard"])
def test_strategies_in_two_processes(tmp_path, strategy):
    result = run_script(STRATEGY_SCRIPT, tmp_path, strategy)
    assert result.returncode == 0, result.stderr[-3000:]
    assert all((tmp_path / f"trained on rank {rank}").exists() for rank in (0, 1))
