import logging
import random
import subprocess
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, TensorDataset

from lightning_tricks.study import Ablation, Arm
from tests.plain import PlainModule

CPU = {"accelerator": "cpu", "devices": 1}


class Data(pl.LightningDataModule):
    """Four batches of training images; the order comes from the global generator, as most users leave it."""

    def __init__(self, *, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(40, 3, 6, 4, generator=generator)
        labels = torch.randint(5, (40,), generator=generator)
        self.train, self.validation = TensorDataset(images[:32], labels[:32]), TensorDataset(images[32:], labels[32:])

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.validation, batch_size=3)

    def test_dataloader(self):
        raise AssertionError("the test part was read")


class Module(PlainModule):
    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())
        self.log("weight", self.net[1].weight[0, 0])


class Spy(pl.Callback):
    """Notes the first weights, the batches and the last weights of one run."""

    def __init__(self, notes):
        self.notes = notes

    def on_train_start(self, trainer, module):
        self.run = {"first": module.net[1].weight.detach().clone(), "batches": [], "epochs": 0}
        self.notes.append(self.run)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.run["batches"].append(batch[0].clone())

    def on_train_epoch_end(self, trainer, module):
        self.run["epochs"] += 1

    def on_train_end(self, trainer, module):
        self.run["last"] = module.net[1].weight.detach().clone()
        self.run["trainer"] = trainer


def study(arms, **kwargs):
    return Ablation(Module, Data, arms, **({"num_seeds": 1, "max_epochs": 2, "trainer_options": CPU} | kwargs))


def test_records_are_plain_and_in_order():
    records = list(study({"spied": Arm()}, num_seeds=2).records())
    assert [(record["arm"], record["seed"]) for record in records] == [
        ("baseline", 0),
        ("spied", 0),
        ("baseline", 1),
        ("spied", 1),
    ]
    for record in records:
        assert {name: type(value) for name, value in record.items()} == {
            "arm": str,
            "seed": int,
            "metric": str,
            "value": float,
            "seconds": float,
            "train_size": int,
            "validation_size": int,
        }
        assert (record["metric"], record["train_size"], record["validation_size"]) == ("val_acc", 32, 8)
        assert record["seconds"] > 0


def test_arms_of_a_seed_share_split_weights_and_order():
    notes = []
    runs = study({name: Arm(lambda: [Spy(notes)]) for name in "ab"}, num_seeds=2)
    values = {(record["arm"], record["seed"]): record["value"] for record in runs.records()}
    a0, b0, a1, _ = notes
    assert torch.equal(a0["first"], b0["first"])
    assert torch.equal(torch.stack(a0["batches"]), torch.stack(b0["batches"]))
    assert torch.equal(a0["last"], b0["last"])
    assert values["baseline", 0] == values["a", 0] == values["b", 0]
    assert not torch.equal(a0["first"], a1["first"])
    assert not torch.equal(a0["batches"][0], a1["batches"][0])
    assert not torch.equal(a0["batches"][0], a0["batches"][4]), "each epoch has an order of its own"


def test_another_module_sees_the_same_batches():
    class Wider(Module):
        def __init__(self):
            super().__init__()
            self.more = torch.nn.Linear(7, 7)

    notes = []
    runs = study({"a": Arm(lambda: [Spy(notes)]), "wider": Arm(lambda: [Spy(notes)], Wider)})
    list(runs.records())
    assert isinstance(notes[1]["trainer"].lightning_module, Wider)
    assert torch.equal(torch.stack(notes[0]["batches"]), torch.stack(notes[1]["batches"]))


def test_the_metric_is_that_of_the_last_weights():
    notes = []
    runs = study(
        {"a": Arm(lambda: [Spy(notes)])}, metric="weight", trainer_options=CPU | {"check_val_every_n_epoch": 9}
    )
    record = runs.run("a", 0)
    assert record["value"] == notes[0]["last"][0, 0].item()
    assert record["metric"] == "weight"


def test_epochs_and_trainer_options_reach_the_trainer(tmp_path):
    notes = []
    runs = study(
        {"a": Arm(lambda: [Spy(notes)])},
        max_epochs=3,
        trainer_options=CPU | {"limit_train_batches": 1, "default_root_dir": tmp_path},
    )
    ticks = []
    list(runs.records(on_epoch_end=lambda: ticks.append(len(notes))))
    assert notes[0]["epochs"] == 3
    assert len(notes[0]["batches"]) == 3
    assert ticks == [0, 0, 0, 1, 1, 1]
    assert list(tmp_path.iterdir()) == []


def test_global_generators_and_loggers_are_as_before():
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    study({}).run("baseline", 0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]
    assert logger.level == level


def test_a_run_prints_nothing(capfd):
    study({}).run("baseline", 0)
    assert capfd.readouterr() == ("", "")


def test_a_metric_that_is_not_logged_is_an_error():
    with pytest.raises(
        MisconfigurationException,
        match=r"Ablation needs 'f1' to be logged in validation_step, but got \['val_acc', 'weight'\]",
    ):
        study({}, metric="f1").run("baseline", 0)


@pytest.mark.parametrize(("part", "loader"), [("training", "train_dataloader"), ("validation", "val_dataloader")])
def test_several_loaders_are_refused(part, loader):
    class Several(Data):
        pass

    setattr(Several, loader, lambda self: [DataLoader(self.train, batch_size=8)] * 2)
    module = type("M", (Module,), {"training_step": lambda self, batch, batch_idx: self.net[1].bias.sum()})
    module.validation_step = lambda self, batch, batch_idx, dataloader_idx=0: None
    with pytest.raises(TypeError, match=f"Ablation needs one {part} DataLoader of a data set with a length, but got"):
        Ablation(module, Several, {}, max_epochs=1, trainer_options=CPU).run("baseline", 0)


def test_an_unknown_arm_is_an_error():
    with pytest.raises(KeyError, match="mixup"):
        study({}).run("mixup", 0)


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="Ablation needs datamodule to be a function, but got Data"):
        Ablation(Module, Data(seed=0), {})
    with pytest.raises(TypeError, match="Ablation needs module_factory to be a function, but got NoneType"):
        Ablation(None, Data, {})
    with pytest.raises(TypeError, match="Ablation needs arm 'mixup' to be an Arm, but got list"):
        study({"mixup": []})
    with pytest.raises(ValueError, match="Ablation needs another name than 'baseline'"):
        study({"baseline": Arm()})
    with pytest.raises(ValueError, match="Ablation needs num_seeds to be at least 1, but got 0"):
        study({}, num_seeds=0)
    with pytest.raises(TypeError, match=r"Ablation needs num_seeds to be an integer, but got 2\.5"):
        study({}, num_seeds=2.5)
    with pytest.raises(ValueError, match="Ablation needs max_epochs to be at least 1, but got -1"):
        study({}, max_epochs=-1)
    with pytest.raises(ValueError, match="Ablation needs trainer_options without callbacks"):
        study({}, trainer_options={"callbacks": []})


def test_study_and_command_import_without_the_extra():
    # Lightning and torchmetrics import some of these themselves where they are installed.
    code = (
        "import sys, lightning.pytorch, torchmetrics\n"
        "before = set(sys.modules)\n"
        "import lightning_tricks.study, lightning_tricks.cli\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new & {'sklearn', 'scipy', 'rich', 'jsonargparse', 'matplotlib'}), 'lightning_tricks' in new)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] True"
