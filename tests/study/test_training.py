import logging
import math
import os
import random
import signal

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_tricks.study import Arm
from lightning_tricks.study.runs.training import HELD_OUT, Training
from tests.study.small import CPU, Data, Module, Spy


def run(
    *arm, seed=0, part="validation", module=Module, data=Data, metric="val_acc", lr=None, on_epoch_end=None, **opts
):
    options = {"max_epochs": 1, **CPU, **opts}
    return Training(module, data, metric, options).run(arm, seed, part=part, lr=lr, on_epoch_end=on_epoch_end)


def spied(*arm, **kwargs):
    notes = []
    record = run(*arm, Arm(lambda: [Spy(notes)]), **kwargs)
    return notes[0], record


def test_record_is_plain():
    record = run()
    assert {name: type(value) for name, value in record.items()} == {
        "metric": str,
        "value": float,
        "diverged": bool,
        "lr": type(None),
        "seconds": float,
        "peak_memory": int,
        "train_size": int,
        "eval_size": int,
        "train_part": str,
        "eval_part": str,
        "equal_samples": int,
    }
    assert (record["metric"], record["train_size"], record["eval_size"]) == ("val_acc", 32, 8)
    assert record["seconds"] > 0
    assert record["peak_memory"] > 10**7
    assert not record["diverged"]


def test_a_seed_is_a_split_weights_and_an_order():
    (a, first), (b, second), (other, _) = spied(max_epochs=2), spied(max_epochs=2), spied(seed=1)
    for name in ("first", "last"):
        assert torch.equal(a[name], b[name])
    assert torch.equal(torch.stack(a["batches"]), torch.stack(b["batches"]))
    assert first["value"] == second["value"]
    assert not torch.equal(a["first"], other["first"])
    assert not torch.equal(a["batches"][0], other["batches"][0])
    assert not torch.equal(a["batches"][0], a["batches"][4]), "each epoch has an order of its own"


def test_another_module_sees_the_same_batches():
    class Wider(Module):
        def __init__(self):
            super().__init__()
            self.more = torch.nn.Linear(7, 7)

    usual, other = spied()[0], spied(Arm(module_factory=Wider))[0]
    assert isinstance(other["trainer"].lightning_module, Wider)
    assert torch.equal(torch.stack(usual["batches"]), torch.stack(other["batches"]))


def test_the_metric_is_that_of_the_last_weights():
    notes, record = spied(metric="weight", check_val_every_n_epoch=9, max_epochs=2)
    assert record["value"] == notes["last"][0, 0].item()
    assert record["metric"] == "weight"


def test_options_and_epochs(tmp_path):
    ticks = []
    notes, _ = spied(
        max_epochs=3, limit_train_batches=1, default_root_dir=tmp_path, on_epoch_end=lambda: ticks.append(1)
    )
    assert (notes["epochs"], len(notes["batches"]), len(ticks)) == (3, 3, 3)
    assert list(tmp_path.iterdir()) == []


def test_the_test_part_is_read_for_a_test_alone():
    usual = spied()[0]
    tested, record = spied(part="test")
    assert {batch.mean().item() for batch in tested["evaluated"]} == {7.0}
    assert record["eval_size"] == 6
    assert record["train_size"] == 32
    assert not any((batch == 7).all() for batch in usual["evaluated"])
    assert torch.equal(usual["last"], tested["last"])


def test_held_out_images_are_neither_trained_on_nor_validation():
    usual, held = spied()[0], spied(part=HELD_OUT)[0]
    whole, training, evaluated = (
        {tuple(image.flatten().tolist()) for batch in batches for image in batch}
        for batches in (usual["batches"], held["batches"], held["evaluated"])
    )
    assert (len(whole), len(training), len(evaluated)) == (32, 26, 6)
    assert training | evaluated == whole


def test_lr_reaches_the_factory():
    assert spied(lr=0.25)[0]["lr"] == 0.25
    assert spied(Arm(module_factory=Module), lr=0.5)[1]["lr"] == 0.5


def test_prepare_sees_the_training_part_alone():
    class Student(Module):
        def __init__(self, teacher):
            super().__init__()
            self.teacher_weight = teacher.net[1].weight.detach().clone()

    teachers, seen, students = [], [], []

    def prepare(datamodule, seed):
        assert seed == 3
        teacher, notes = Module(), []
        # The usual call, with a module that has a validation_step.
        pl.Trainer(
            **CPU,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Spy(notes)],
        ).fit(teacher, datamodule=datamodule)
        seen.extend(tuple(image.flatten().tolist()) for batch in notes[0]["batches"] for image in batch)
        with pytest.raises(MisconfigurationException, match="`val_dataloader` must be implemented"):
            datamodule.val_dataloader()
        with pytest.raises(MisconfigurationException, match="`prepare` may see the training part alone"):
            datamodule.test_dataloader()
        teachers.append(teacher)
        return teacher

    def callbacks(teacher):
        students.append(teacher)
        return [Spy([])]

    notes, _ = spied(Arm(callbacks, Student, prepare), seed=3)
    usual = spied(seed=3)[0]
    assert set(seen) == {tuple(image.flatten().tolist()) for batch in usual["batches"] for image in batch}
    assert students == teachers
    student = notes["trainer"].lightning_module
    assert torch.equal(student.teacher_weight, teachers[0].net[1].weight)
    assert torch.equal(torch.stack(notes["batches"]), torch.stack(usual["batches"])), "the teacher moves no data"
    held = []
    run(Arm(prepare=lambda datamodule, seed: held.extend(datamodule.train_dataloader().dataset)), part=HELD_OUT)
    assert len(held) == 26, "a teacher of a trial sees no more than its student"


def test_divergence_is_told():
    assert run(Arm(module_factory=lambda: Module(lr=1e38)), max_epochs=2)["diverged"]

    class NotANumber(Module):
        def validation_step(self, batch, batch_idx):
            self.log("val_acc", math.nan)

    record = run(Arm(module_factory=NotANumber))
    assert record["diverged"]
    assert math.isnan(record["value"])


@pytest.mark.parametrize("fails", [False, True])
def test_global_state_is_as_before(fails):
    class Failing(Module):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("as if the user's code were wrong")

    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(), logger.level

    logger = logging.getLogger("lightning.pytorch")
    before = state()
    if fails:
        with pytest.raises(RuntimeError, match="as if the user's code were wrong"):
            run(module=Failing)
    else:
        run()
    assert state() == before


def test_a_run_prints_nothing(capfd):
    run()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("place", ["training_step", "validation_step", "setup"])
def test_ctrl_c_stays_a_keyboard_interrupt(place):
    def interrupted(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        return getattr(Module, place)(self, *args, **kwargs)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(module=type("Interrupted", (Module,), {place: interrupted}))
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_exit_of_the_users_stays_one():
    with pytest.raises(SystemExit, match="stopped by the user's code"):
        run(Arm(lambda: (_ for _ in ()).throw(SystemExit("stopped by the user's code"))))


def test_a_metric_that_is_not_logged_is_an_error():
    with pytest.raises(
        MisconfigurationException,
        match=r"to log 'f1', but the module logs only \['val_acc', 'weight'\]",
    ):
        run(metric="f1")


@pytest.mark.parametrize(("part", "loader"), [("training", "train_dataloader"), ("validation", "val_dataloader")])
def test_several_loaders_are_refused(part, loader):
    class Several(Data):
        pass

    setattr(Several, loader, lambda self: [DataLoader(self.train, batch_size=8)] * 2)
    module = type("M", (Module,), {"training_step": lambda self, batch, batch_idx: self.net[1].bias.sum()})
    module.validation_step = lambda self, batch, batch_idx, dataloader_idx=0: None
    with pytest.raises(TypeError, match=f"needs one {part} DataLoader whose .* but got .*ConcatDataset"):
        run(module=module, data=Several)


def loaders(name, make):
    """The data with another loader."""
    return type("Other", (Data,), {f"{name}_dataloader": lambda self: make(self)})


class Stream(IterableDataset):
    """32 samples, one after another."""

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return iter(self.samples)


class LongStream(Stream):
    def __len__(self):
        return len(self.samples)


half = SubsetRandomSampler(range(16))
weighted = WeightedRandomSampler([1.0] * 32, 20)
uneven = [[0, 1, 2], [3], [4, 5]]
SIZES = {
    "as they are": (Data, {}, (32, 8)),
    "a sampler": (loaders("train", lambda self: DataLoader(self.train, 8, sampler=half)), {}, (16, 8)),
    "weights": (loaders("train", lambda self: DataLoader(self.train, 8, sampler=weighted)), {}, (20, 8)),
    "drop_last": (loaders("train", lambda self: DataLoader(self.train, 9, drop_last=True)), {}, (27, 8)),
    "a last batch": (loaders("train", lambda self: DataLoader(self.train, 9)), {}, (32, 8)),
    "batches of indices": (loaders("train", lambda self: DataLoader(self.train, batch_sampler=uneven)), {}, (6, 8)),
    "a sampler of batches": (
        loaders("train", lambda self: DataLoader(self.train, sampler=BatchSampler(half, 5, False), batch_size=None)),
        {},
        (16, 8),
    ),
    "a stream with a length": (loaders("train", lambda self: DataLoader(LongStream(self.train), 8)), {}, (32, 8)),
    "a limited stream": (
        loaders("train", lambda self: DataLoader(LongStream(self.train), 8)),
        {"limit_train_batches": 2},
        (16, 8),
    ),
    "a list of one": (loaders("val", lambda self: [DataLoader(self.validation, 3)]), {}, (32, 8)),
    "an evaluated half": (loaders("val", lambda self: DataLoader(self.validation, 3, sampler=range(4))), {}, (32, 4)),
    "a limit of batches": (Data, {"limit_train_batches": 2, "limit_val_batches": 1}, (16, 3)),
    "a limit with the last batch": (Data, {"limit_val_batches": 3}, (32, 8)),
    "a limited share": (Data, {"limit_train_batches": 0.5, "limit_val_batches": 0.7}, (16, 6)),
    "overfit_batches": (Data, {"overfit_batches": 2}, (16, 6)),
    "fast_dev_run": (Data, {"fast_dev_run": True}, (8, 3)),
    "a limit and a sampler": (
        loaders("train", lambda self: DataLoader(self.train, 5, sampler=half)),
        {"limit_train_batches": 2},
        (10, 8),
    ),
    "reloaded loaders": (Data, {"reload_dataloaders_every_n_epochs": 1, "max_epochs": 2}, (32, 8)),
}


class Counted(pl.Callback):
    """Counts the samples of each batch, as a reference."""

    def __init__(self):
        self.train, self.validation = {}, 0

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.train[trainer.current_epoch] = self.train.get(trainer.current_epoch, 0) + len(batch[1])

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        self.validation += len(batch[1]) if trainer.state.fn == "validate" else 0


@pytest.mark.filterwarnings("ignore:You requested to overfit", "ignore:Your `IterableDataset` has `__len__`")
@pytest.mark.filterwarnings("ignore:You are overriding", "ignore:Trainer.*overfit_batches")
@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_what_the_loaders_give(name):
    data, options, expected = SIZES[name]
    counted = Counted()
    record = run(Arm(lambda: [counted]), data=data, **options)
    assert (record["train_size"], record["eval_size"]) == expected
    assert (counted.train[0], counted.validation) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda self: DataLoader(Stream(self.train), 8),
        lambda self: DataLoader(TensorDataset(torch.randn(2, 4, 3, 6, 4), torch.zeros(2, 4).long()), batch_size=None),
        lambda self: CombinedLoader({"a": DataLoader(self.train, 8)}),
    ],
)
def test_what_cannot_be_counted_is_refused(make):
    module = type("M", (Module,), {"training_step": lambda self, batch, batch_idx: self.net[1].bias.sum()})
    with pytest.raises(TypeError, match="needs one training DataLoader whose samples can be counted"):
        run(data=loaders("train", make), module=module)
