import contextlib
import re
import signal
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torchmetrics.functional import accuracy

import lightning_tricks
from lightning_tricks.cli import trainer_command
from lightning_tricks.cli.command import run_command
from lightning_tricks.cli.tricks import TRICKS
from lightning_tricks.data import DigitsDataModule
from lightning_tricks.models import Classifier
from tests.data.image_files import write_images

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in an empty folder as the process's own, and gives its Trainer."""
    monkeypatch.chdir(tmp_path)
    made = []

    def after(self):
        made.append(self.trainer)

    monkeypatch.setattr(trainer_command.TricksCLI, "before_fit", after, raising=False)

    def start(stage, *words, **config):
        config["trainer"] = QUIET | config.get("trainer", {})
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
        monkeypatch.setattr(sys, "argv", ["lightning-tricks", stage, "--config", "run.yaml", *words])
        run_command()
        return made[-1] if made else None

    return start


def test_by_default_the_tiny_net_on_the_digits(run):
    trainer = run("fit", trainer={"fast_dev_run": 1})
    assert type(trainer.lightning_module) is Classifier
    assert type(trainer.datamodule) is DigitsDataModule


def test_tricks_by_name(run):
    callbacks = [
        {"class_path": "RandomChoice", "init_args": {"tricks": [{"class_path": "Mixup"}, {"class_path": "CutMix"}]}},
        {"class_path": "lightning_tricks.LabelSmoothing", "init_args": {"label_smoothing": 0.2}},
        {"class_path": "CosineDecay", "init_args": {"min_factor": 0.1}},
    ]
    trainer = run("fit", trainer={"fast_dev_run": 1, "callbacks": callbacks})
    choice, smoothing, decay = trainer.callbacks[:3]
    assert [type(part).__name__ for part in choice.tricks] == ["Mixup", "CutMix"]
    assert smoothing.label_smoothing == 0.2
    assert decay.min_factor == 0.1


def test_every_trick_without_arguments_goes_by_the_name_of_its_class(run):
    without = [callback for trick in TRICKS.values() for callback in trick.callbacks(4)]
    names = {type(callback).__name__ for callback in without} - {"RandomChoice", "Augment", "Cutout"}
    given = {"GradualWarmup": {"epochs": 1}, "ConstantWarmup": {"epochs": 1}, "StepDecay": {"every_epochs": 1}}
    parser = trainer_command.LightningArgumentParser()
    parser.add_argument("--callbacks", type=list[trainer_command.pl.Callback])
    config = [{"class_path": name, "init_args": given.get(name, {})} for name in sorted(names)]
    made = parser.instantiate(parser.parse_object({"callbacks": config})).callbacks
    assert [type(callback) for callback in made] == [getattr(lightning_tricks, name) for name in sorted(names)]


def test_the_model_suits_the_data(run, tmp_path):
    root = write_images(tmp_path / "images", count=5)
    data = {"class_path": "ImageFolderDataModule", "init_args": {"root": str(root), "image_size": 12, "batch_size": 4}}
    model = {"class_path": "Classifier", "init_args": {"model": "resnet18", "lr": 0.3}}
    trainer = run("fit", trainer={"fast_dev_run": 1}, data=data, model=model)
    module = trainer.lightning_module
    assert (module.net.fc.out_features, module.net.conv1.kernel_size, module.lr) == (3, (3, 3), 0.3)


def test_a_module_of_the_users_own(run):
    trainer = run(
        "fit",
        trainer={"fast_dev_run": 1},
        model={"class_path": "tests.plain.PlainModule", "init_args": {"num_classes": 10}},
        data={"class_path": "tests.data.colour_data.ColourData"},
    )
    assert type(trainer.lightning_module).__name__ == "PlainModule"


FOREIGN = """
import lightning.pytorch as pl
import torch
from lightning_tricks.models.classifier import Classifier
from lightning_tricks.data.digits import DigitsDataModule
from tests.plain import PlainModule, image_loader

class Net(PlainModule):
    def __init__(self, num_classes: int = 3, in_channels: int = 3, image_size: int = 4):
        super().__init__(num_classes=num_classes, size=(image_size, image_size))
        self.given = num_classes, in_channels, image_size

    def validation_step(self, batch, batch_idx):
        pass

class Data(pl.LightningDataModule):
    num_classes, in_channels, image_size = 10, 1, 8

    def train_dataloader(self):
        return image_loader(num_classes=3, size=(4, 4))

    val_dataloader = train_dataloader

class Silent(pl.LightningDataModule):
    def train_dataloader(self):
        return image_loader(num_classes=3, size=(8, 8))

    val_dataloader = train_dataloader

class Saving(Classifier):
    def __init__(self, *, width: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.save_hyperparameters()

class Three(Classifier):
    def __init__(self):
        super().__init__(num_classes=3, in_channels=3)

class Thousand(Classifier):
    def __init__(self, num_classes: int = 1000, **kwargs):
        super().__init__(num_classes=num_classes, **kwargs)
"""
SHORT = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1}


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """Modules and data of the user's own, in a Python module beside the configuration."""
    (tmp_path / "foreign_of_this_test.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "foreign_of_this_test"
    sys.modules.pop("foreign_of_this_test", None)


def saved(trainer):
    return yaml.safe_load((Path(trainer.log_dir) / "config.yaml").read_text())


def sizes(module):
    layer = next(part for part in module.modules() if isinstance(part, torch.nn.Conv2d))
    return module.val_acc.num_classes, layer.in_channels


@pytest.mark.parametrize("data", ["DigitsDataModule", "Data"])
@pytest.mark.parametrize("init_args", [{}, {"num_classes": 4, "in_channels": 3, "image_size": 4}])
def test_a_foreign_module_gets_what_the_user_gives_alone(init_args, data, run, foreign):
    # The digits do not fit this net: there it is only made.
    trainer = SHORT | ({"limit_train_batches": 0, "limit_val_batches": 0} if data == "DigitsDataModule" else {})
    data = {"class_path": data if data == "DigitsDataModule" else f"{foreign}.{data}"}
    model = {"class_path": f"{foreign}.Net", "init_args": init_args}
    expected = (init_args.get("num_classes", 3), 3, 4)
    made = run("fit", trainer=trainer, data=data, model=model)
    assert made.lightning_module.given == expected
    kept = saved(made)
    assert tuple(kept["model"]["init_args"].values()) == expected
    again = run("fit", trainer=trainer, model=kept["model"], data=kept["data"])
    assert again.lightning_module.given == expected


def test_what_the_data_say_is_saved_and_gives_the_same_model_again(run, tmp_path):
    root = write_images(tmp_path / "images", count=5)
    data = {"class_path": "ImageFolderDataModule", "init_args": {"root": str(root), "image_size": 12, "batch_size": 4}}
    trainer = run("fit", trainer=SHORT, data=data)
    kept = saved(trainer)
    arguments = {"num_classes": 3, "in_channels": 3, "image_size": 12}
    assert arguments.items() <= kept["model"]["init_args"].items()
    assert kept["data"]["init_args"]["root"] == str(root)
    again = run("fit", trainer=SHORT, model=kept["model"], data=kept["data"])
    assert sizes(again.lightning_module) == sizes(trainer.lightning_module) == (3, 3)


@pytest.mark.parametrize(
    "words", [(), ("--model.num_classes", "10"), ("--model.image_size=8", "--model.in_channels=1")]
)
def test_the_printed_configuration_gives_the_same_run(words, run, tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        run("fit", "--print_config", *words, trainer=SHORT)
    printed = yaml.safe_load(capsys.readouterr().out)
    given = {word.lstrip("-").partition("=")[0].removeprefix("model.") for word in words if word.startswith("--")}
    arguments = printed["model"]["init_args"]
    assert {name for name in ("num_classes", "in_channels", "image_size") if arguments[name] is not None} == given
    trainer = run("fit", trainer=SHORT, model=printed["model"], data=printed["data"])
    assert sizes(trainer.lightning_module) == (10, 1)


@pytest.mark.parametrize(
    ("name", "value", "of_data"), [("num_classes", 3, 10), ("in_channels", 3, 1), ("image_size", 9, 8)]
)
@pytest.mark.parametrize("stage", trainer_command.STAGES)
@pytest.mark.parametrize("by_file", [True, False])
def test_a_contradiction_with_the_data_is_one_plain_line(stage, name, value, of_data, by_file, run, capsys):
    words = () if by_file else (f"--model.{name}", str(value))
    config = {"model": {"class_path": "Classifier", "init_args": {name: value}}} if by_file else {}
    with pytest.raises(SystemExit, match="2"):
        run(stage, *words, **config)
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"lightning-tricks: Classifier needs {name} to be that of the data, but got {value}, and DigitsDataModule has "
        f"{of_data}; leave {name} out"
    )


def test_a_subclass_of_the_classifier_is_filled_in_where_it_leaves_something_open(run, foreign, capsys):
    saving = run("fit", trainer=SHORT, model={"class_path": f"{foreign}.Saving"})
    hyperparameters = dict(saving.lightning_module.hparams)
    assert {"num_classes": 10, "in_channels": 1, "image_size": 8}.items() <= hyperparameters.items()
    path = saving.checkpoint_callback.best_model_path
    run("validate", "--ckpt_path", path, model={"class_path": f"{foreign}.Saving"})
    data = {"class_path": f"{foreign}.Data"}
    three = run(
        "fit",
        trainer=SHORT | {"limit_train_batches": 0, "limit_val_batches": 0},
        model={"class_path": f"{foreign}.Three"},
        data=data,
    )
    assert sizes(three.lightning_module) == (3, 3)
    with pytest.raises(SystemExit, match="2"):
        run("fit", model={"class_path": f"{foreign}.Thousand"})
    assert "Thousand needs num_classes to be that of the data, but got 1000" in capsys.readouterr().err


def test_data_that_do_not_say_it_ask_the_user(run, foreign, capsys):
    data = {"class_path": f"{foreign}.Silent"}
    with pytest.raises(SystemExit, match="2"):
        run("fit", data=data)
    message = "lightning-tricks: Classifier needs num_classes, but Silent does not say it; give --model.num_classes"
    assert capsys.readouterr().err.splitlines()[-1] == message
    model = {"class_path": "Classifier", "init_args": {"num_classes": 3, "in_channels": 3, "image_size": 8}}
    assert sizes(run("fit", trainer=SHORT, data=data, model=model).lightning_module) == (3, 3)


def test_fit_then_validate_then_test(run, tmp_path, capsys):
    trainer = run("fit", trainer={"max_epochs": 2}, data={"class_path": "DigitsDataModule", "init_args": {"seed": 3}})
    checkpoint = trainer.checkpoint_callback.best_model_path
    module, data = trainer.lightning_module.eval(), trainer.datamodule
    for stage, part in {"validate": data.validation, "test": data.test}.items():
        capsys.readouterr()
        run(stage, "--ckpt_path", checkpoint, data={"class_path": "DigitsDataModule", "init_args": {"seed": 3}})
        with torch.no_grad():
            expected = accuracy(module(part.tensors[0]), part.tensors[1], "multiclass", num_classes=10).item()
        shown = re.search(r"_acc\s+│\s+([\d.]+)", capsys.readouterr().out)
        assert float(shown[1]) == pytest.approx(expected)


def test_warnings_of_ours_still_show(run):
    callbacks = [{"class_path": "Mixup"}, {"class_path": "CutMix"}]
    with pytest.warns(UserWarning, match="Mixup and CutMix stand in one callback list"):
        run("fit", trainer={"fast_dev_run": 1, "callbacks": callbacks})


@pytest.mark.parametrize("stage", trainer_command.STAGES)
def test_a_wrong_folder_or_name_is_one_plain_line(stage, run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(stage, data={"class_path": "ImageFolderDataModule", "init_args": {"root": "nowhere"}})
    line = r"lightning-tricks: nowhere: cannot read this folder: No such file.*\.\n"
    assert re.fullmatch(line, capsys.readouterr().err)
    with pytest.raises(SystemExit, match="2"):
        run(stage, trainer={"callbacks": [{"class_path": "Mixupp"}]})
    assert capsys.readouterr().err == "lightning-tricks: there is no callback 'Mixupp'. Did you mean 'Mixup'?\n"


def test_a_missing_checkpoint_is_named(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("validate", "--ckpt_path", "nowhere.ckpt")
    assert capsys.readouterr().err.splitlines()[-1] == "lightning-tricks: Checkpoint file not found: nowhere.ckpt"


def test_a_missing_checkpoint_of_a_teacher_is_named(run, capsys):
    init_args = {"teacher": {"class_path": "torch.nn.Flatten"}, "teacher_checkpoint": "nowhere.ckpt"}
    with pytest.raises(SystemExit, match="2"):
        run("fit", trainer={"callbacks": [{"class_path": "Distillation", "init_args": init_args}]})
    assert capsys.readouterr().err.splitlines()[-1] == "lightning-tricks: nowhere.ckpt: No such file or directory"


def test_an_accelerator_without_its_package_is_one_plain_line(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("fit", trainer={"accelerator": "tpu"})
    assert capsys.readouterr().err.splitlines()[-1].startswith("lightning-tricks: Requirement 'torch_xla")


def test_a_configuration_is_not_written_over(run, tmp_path, capsys):
    trainer = {"logger": False, "max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1}
    run("fit", trainer=trainer)
    written = (tmp_path / "config.yaml").read_text()
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        run("fit", "--model.lr", "0.3", trainer=trainer)
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("lightning-tricks: ")
    assert f"{tmp_path}/config.yaml" in message
    assert "another --trainer.default_root_dir" in message
    assert (tmp_path / "config.yaml").read_text() == written
    run("fit", "--trainer.default_root_dir", str(tmp_path / "new"), trainer=trainer)


OWN = """
from lightning_tricks.models import Classifier

class Net(Classifier):
    def __init__(self, *, fails=None, **kwargs):
        super().__init__(**kwargs)
        self.fails = fails
        if fails == "init":
            raise KeyError("in __init__")

    def training_step(self, batch, batch_idx):
        if self.fails == "step":
            raise ValueError("in training_step")
        return super().training_step(batch, batch_idx)
"""


def test_a_module_beside_the_configuration_keeps_its_own_errors(run, tmp_path, monkeypatch):
    name = "net_of_this_test"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for fails, error in {None: None, "init": KeyError, "step": ValueError}.items():
        model = {"class_path": f"{name}.Net", "init_args": {"fails": fails}}
        with pytest.raises(error, match="in ") if error else contextlib.nullcontext():
            assert type(run("fit", trainer={"fast_dev_run": 1}, model=model).lightning_module).__name__ == "Net"
    assert str(tmp_path) in sys.path


@pytest.mark.parametrize("epoch", [0, 1])
def test_ctrl_c_says_how_to_go_on(epoch, run, monkeypatch, capsys):
    def interrupt(self):
        if self.current_epoch == epoch:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Classifier, "on_train_epoch_start", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as stop:
            run("fit", trainer={"max_epochs": 3, "limit_train_batches": 2})
    finally:
        signal.signal(signal.SIGINT, handler)
    assert stop.value.code == 130
    message = capsys.readouterr().err.splitlines()[-1]
    if epoch == 0:
        assert message == "lightning-tricks: stopped; no checkpoint was written yet, the same command starts again"
    else:
        path = message.removeprefix("lightning-tricks: stopped; the same command with --ckpt_path ").removesuffix(
            " goes on from there"
        )
        monkeypatch.undo()
        assert torch.load(path, weights_only=True)["epoch"] == 0
