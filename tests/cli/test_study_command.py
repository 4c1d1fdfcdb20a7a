import csv
import json
import re
import signal
import subprocess
import sys

import pytest
import torch

from lightning_tricks import recipes
from lightning_tricks.cli import study_command
from lightning_tricks.cli.command import run_command
from lightning_tricks.cli.options import DataOptions, StudyOptions, TrainingOptions
from lightning_tricks.cli.trainer_command import trainer_options
from lightning_tricks.cli.tricks import DEFAULT_TRICKS, TRICKS
from tests.cli.finished_runs import trainings  # noqa: F401 - a fixture
from tests.data.image_files import write_images

REPORT = {"table.csv", "runs.csv", "differences.png", "report.html"}


def run(text):
    run_command(text.split())


def refused(text, capsys):
    """The message with which the command refuses."""
    with pytest.raises(SystemExit) as stop:
        run(text)
    assert stop.value.code == 2
    return capsys.readouterr().err


def build(tmp_path, *, study=None, data=None, training=None):
    return study_command.build_study(
        StudyOptions(**(study or {})),
        DataOptions(**(data or {})),
        TrainingOptions(**(training or {})),
        directory=tmp_path / "study",
    )


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """One small study through the command, started as a user starts it."""
    out = tmp_path_factory.mktemp("study") / "new" / "folder"
    words = f"ablate --tricks mixup,distillation --seeds 2 --epochs 1 --batch-size 600 --out {out}"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "lightning_tricks", *words.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    return result, out


def test_a_study_ends_with_its_table_and_files(started):
    result, out = started
    for arm in ("baseline", "mixup", "distillation"):
        assert sum(line.startswith(f" {arm} ") for line in result.stdout.splitlines()) == 1
    words = " ".join(result.stdout.split())
    assert "With 2 seeds this is a demonstration" in words
    assert "val_acc after the last epoch on the validation part (360 samples; trained on 1077)" in words
    assert {path.name for path in out.iterdir()} >= REPORT
    assert all(str(out / name) in result.stdout for name in REPORT)
    with (out / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_stderr_holds_the_progress_alone(started):
    lines = started[0].stderr.strip().splitlines()
    assert len(lines) == 6
    assert all(re.fullmatch(r"run \d of 6 done: .*, seed \d; about .* left", line) for line in lines)


def test_a_finished_study_is_reported_again_and_then_confirmed(started, trainings, capsys):  # noqa: F811
    _, out = started
    (out / "report.html").unlink()
    run(f"ablate --tricks mixup,distillation --seeds 2 --epochs 1 --batch_size 600 --out {out}")
    assert trainings == []
    assert (out / "report.html").exists()
    capsys.readouterr()
    run(f"confirm --arm mixup --seeds 3 --out {out}")
    assert trainings == [(kinds, seed, "test") for seed in (2, 3, 4) for kinds in ([], ["Mixup"])]
    assert "on the test part" in " ".join(capsys.readouterr().out.split())
    assert {path.name for path in (out / "confirm").iterdir()} >= REPORT
    assert "the test part answers one question once" in refused(
        f"confirm --arm distillation --seeds 3 --out {out}", capsys
    )


def test_table_and_report_are_in_points_as_the_margin_is(tmp_path, trainings, capsys):  # noqa: F811
    run(f"ablate --tricks mixup --seeds 2 --margin 50 --out {tmp_path}")
    for text in (capsys.readouterr().out, (tmp_path / "report.html").read_text()):
        assert "no difference beyond ±50 points" in " ".join(text.split())
        assert "±0.5" not in text


def test_a_changed_learning_rate_is_told_with_the_table(tmp_path, trainings, capsys):  # noqa: F811
    caution = "at 0.25 times the baseline's learning rate, 0.0125 instead of 0.05 (batches of 64 on one device"
    run(f"ablate --recipe bag_of_tricks --seeds 1 --out {tmp_path}")
    assert caution in (words := " ".join(capsys.readouterr().out.split()))
    assert "--lr-grid" in words
    run(f"confirm --arm recipe --seeds 1 --out {tmp_path}")
    assert caution in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words", ["--tricks mixup,distillation,no_bias_decay", "--tricks linear_scaling --batch_size 256"]
)
def test_without_a_changed_learning_rate_nothing_is_told(words, tmp_path, trainings, capsys):  # noqa: F811
    run(f"ablate {words} --seeds 1 --out {tmp_path}")
    assert "Caution" not in capsys.readouterr().out


def test_the_arm_without_the_scaling_is_confirmed_without_a_word_of_it(tmp_path, trainings, capsys):  # noqa: F811
    run(f"ablate --recipe bag_of_tricks --seeds 1 --out {tmp_path}")
    capsys.readouterr()
    run_command(["confirm", "--arm", "recipe less LinearScaling", "--seeds", "1", "--out", str(tmp_path)])
    assert "Caution" not in capsys.readouterr().out


def test_another_study_is_refused(tmp_path, trainings, capsys):  # noqa: F811
    run(f"ablate --seeds 2 --out {tmp_path}")
    message = refused(f"ablate --seeds 3 --out {tmp_path}", capsys)
    assert f"{tmp_path} holds another study" in message
    assert "num_seeds: 2 there, 3 here" in message


def test_defaults(tmp_path, trainings, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    run("ablate")
    assert len(trainings) == 3 * (1 + len(DEFAULT_TRICKS))
    assert [path.name for path in tmp_path.iterdir()] == ["ablation"]
    assert {path.name for path in (tmp_path / "ablation").iterdir()} >= REPORT


def test_shards_share_the_runs(tmp_path, trainings, capsys):  # noqa: F811
    run(f"ablate --tricks mixup,cosine --seeds 2 --shard 1/2 --out {tmp_path}")
    assert len(trainings) == 3
    assert f"3 of 6 runs are finished in {tmp_path}" in capsys.readouterr().out
    assert not (tmp_path / "report.html").exists()
    run(f"ablate --tricks mixup,cosine --seeds 2 --shard 2/2 --out {tmp_path}")
    assert len(trainings) == 6
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("shard", ["3/2", "0/2", "half"])
def test_a_bad_shard_leaves_nothing_behind(shard, tmp_path, capsys):
    assert "shar" in refused(f"ablate --shard {shard} --out {tmp_path / 'new'}", capsys)
    assert not (tmp_path / "new").exists()


def test_options_reach_the_study(tmp_path):
    write_images(tmp_path / "images", count=5)
    study = build(
        tmp_path,
        study={"tricks": "mixup,no_bias_decay", "seeds": 4, "margin": 0.5},
        data={
            "data": str(tmp_path / "images"),
            "image_size": 12,
            "batch_size": 7,
            "loader_workers": 1,
            "label_noise": 0.25,
            "augment": False,
        },
        training={
            "model": "resnet18",
            "epochs": 3,
            "lr": 0.25,
            "accelerator": "auto",
            "devices": "2",
            "precision": "16",
        },
    )
    assert (study.num_seeds, study.max_epochs, study.margin) == (4, 3, 0.005)
    assert list(study.arms) == ["baseline", "mixup", "no_bias_decay"]
    settings = study.result().settings
    assert settings["trainer_options"] == {"accelerator": "auto", "devices": 2, "precision": "16"}
    module, data = settings["module_factory"]["keywords"], settings["datamodule"]["keywords"]
    assert module == {"model": "resnet18", "num_classes": 3, "in_channels": 3, "image_size": 12, "lr": 0.25}
    assert data == {"batch_size": 7, "image_size": 12, "num_workers": 1, "label_noise": 0.25, "augment": False}
    (trick,) = study.arms["no_bias_decay"]
    assert trick.module_factory().bias_decay is False
    assert trick.module_factory().lr == 0.25


def test_devices_may_be_words():
    assert trainer_options(TrainingOptions(devices="0,1"))["devices"] == "0,1"


def test_a_recipe_less_one_trick_at_a_time(tmp_path, trainings):  # noqa: F811
    run(f"ablate --recipe mixup,warmup,cosine --seeds 1 --out {tmp_path}")
    assert [kinds for kinds, *_ in trainings] == [
        [],
        ["Mixup", "GradualWarmup", "CosineDecay"],
        ["GradualWarmup", "CosineDecay"],
        ["Mixup", "CosineDecay"],
        ["Mixup", "GradualWarmup"],
    ]


def test_the_published_recipe(tmp_path):
    study = build(tmp_path, study={"recipe": "bag_of_tricks"})
    names = [type(callback).__name__ for callback in recipes.bag_of_tricks()]
    assert [name for name in study.arms if "less" in name] == [f"recipe less {name}" for name in names]
    made = [callback for trick in study.arms["recipe"] for callback in trick.callbacks()]
    assert [type(callback).__name__ for callback in made] == names


def test_the_recipe_that_needs_bytes_gets_them_and_trains(tmp_path, make_trainer):
    study = build(tmp_path, study={"recipe": "torchvision_2021"})
    names = [type(callback).__name__ for callback in recipes.torchvision_2021()]
    assert [name for name in study.arms if "less" in name] == [f"recipe less {name}" for name in names]
    data = study_command.choose_data("digits", batch_size=64, data_dir=tmp_path, image_size=8)(seed=0)
    data.setup("fit")
    callbacks = []
    for trick in study.arms["recipe"]:
        callbacks += trick.callbacks(*([trick.prepare(data, 0)] if trick.prepare else []))
    assert [type(callback).__name__ for callback in callbacks] == names
    before, _, after = callbacks[0].transform.transforms
    images = data.train.tensors[0][:50]
    assert before(images).dtype == torch.uint8
    assert torch.allclose(after(before(images)), images, atol=0.01)
    assert callbacks[1].value == 0.0
    trainer = make_trainer(max_epochs=6, limit_train_batches=2, limit_val_batches=0, callbacks=callbacks)
    trainer.fit(study_command.Classifier(), datamodule=data)
    assert trainer.global_step == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--tricks mixup,cosin", "there is no trick 'cosin'. Did you mean 'cosine'?"),
        ("--recipe torchvision_2021,mixup", "there is no trick 'torchvision_2021'"),
        ("--data digit", "there is no data 'digit'. Did you mean 'digits'?"),
        ("--model resnet", "there is no model 'resnet'. Did you mean 'resnet"),
        ("--model alexnet", "model 'alexnet' cannot take images of 8 x 8 pixels"),
        ("--tricks zero_gamma", "zero_gamma needs residual blocks"),
        ("--recipe bag_of_trick", "there is no recipe 'bag_of_trick'. Did you mean 'bag_of_tricks'?"),
        ("--recipe cosine,step", "A run has one decay of the learning rate, but got CosineDecay and StepDecay"),
        ("--recipe fast", "There are: bag_of_tricks, torchvision_2021, or names of tricks, separated by commas."),
        ("--accelerator tpu", "--accelerator tpu with --devices 1: Requirement 'torch_xla"),
        ("--devices 3x", "--accelerator cpu with --devices 3x: `devices` selected with `CPUAccelerator`"),
        ("--accelerator gpux", "invalid accelerator name"),
        ("--recipe mixup,cosine --tricks cutmix", "--recipe stands in place of --tricks, but both are given"),
        ("--label-noise 1", "DigitsDataModule needs label_noise to be at least 0 and below 1, but got 1.0"),
        ("--lr-grid 0.1,fast", "--lr-grid needs numbers separated by commas, such as 0.03,0.1,0.3, but got '0.1,fast'"),
        ("--lr-grid 0.1", "Ablation needs lr_grid to hold two or more different rates, but got [0.1]"),
        ("--loader-workers 999", "the cores of this machine, but got 999"),
        ("--pretrained", "model 'tiny' has no published weights"),
        ("--weights nowhere.ckpt", "nowhere.ckpt: cannot read these weights: No such file or directory"),
        ("--model timm/resnet", "there is no model of timm 'resnet'. Did you mean 'resnet"),
        ("--margin 150", "--margin is in points of accuracy, of which there are 100, but got 150"),
        ("--recipe mixup", "needs at least two tricks for a recipe"),
    ],
)
def test_wrong_names(words, message, tmp_path, capsys):
    assert message in refused(f"ablate {words} --out {tmp_path / 'new'}", capsys)
    assert not (tmp_path / "new").exists()


def test_a_truncated_image_is_one_plain_line(tmp_path, capsys):
    root = write_images(tmp_path / "images", count=5)
    for path in (root / "ant").glob("*.png"):
        path.write_bytes(path.read_bytes()[:150])
    message = refused(f"ablate --data {root} --image-size 8 --seeds 1 --epochs 1 --out {tmp_path / 'new'}", capsys)
    assert re.fullmatch(
        rf"lightning-tricks: {root}/ant/\d\.png: cannot read this image: [^\n]*", message.splitlines()[-1]
    )


def test_an_empty_class_folder_is_one_plain_line(tmp_path, capsys):
    (write_images(tmp_path / "images") / "dog").mkdir()
    message = f"lightning-tricks: {tmp_path}/images/dog: needs at least 5 images per class, but there are 0.\n"
    assert refused(f"ablate --data {tmp_path}/images --out {tmp_path / 'new'}", capsys) == message


@pytest.mark.parametrize("words", ["ablate --tricks cosine --seeds 1", "preview --tricks cosine"])
def test_a_folder_that_cannot_be_made_is_one_plain_line(words, tmp_path, trainings, capsys):  # noqa: F811
    (tmp_path / "file").touch()
    assert refused(f"{words} --out {tmp_path / 'file'}", capsys) == f"lightning-tricks: {tmp_path}/file: File exists\n"


def test_the_grid_of_rates_reaches_the_study(tmp_path):
    study = build(tmp_path, study={"tricks": "linear_scaling,no_bias_decay"}, training={"lr_grid": "0.03, 0.1,0.3"})
    assert study.lr_grid == [0.03, 0.1, 0.3]
    (trick,) = study.arms["no_bias_decay"]
    assert trick.module_factory(lr=0.3).lr == 0.3


def test_weights_start_every_run_and_their_content_is_part_of_the_study(tmp_path, capsys):
    torch.manual_seed(5)
    net = study_command.Classifier().net
    torch.save(net.state_dict(), tmp_path / "net.pt")
    training = {"weights": tmp_path / "net.pt"}
    study = build(tmp_path, study={"tricks": "no_bias_decay"}, training=training)
    made = study.arms["no_bias_decay"][0].module_factory()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in made.net.state_dict().items())
    study.runs()
    words = (
        f"ablate --tricks cosine --seeds 1 --epochs 1 --batch-size 600 --weights {tmp_path}/net.pt --out {tmp_path}/s"
    )
    run(words)
    torch.save(study_command.Classifier().net.state_dict(), tmp_path / "net.pt")
    assert "holds another study" in refused(words, capsys)


def test_confirm_keeps_weights_noise_and_rates(tmp_path, trainings):  # noqa: F811
    torch.save(study_command.Classifier().net.state_dict(), tmp_path / "net.pt")
    out = tmp_path / "study"
    run(f"ablate --tricks cosine --seeds 1 --label-noise 0.4 --weights {tmp_path}/net.pt --out {out}")
    run(f"confirm --arm cosine --seeds 1 --out {out}")
    assert json.loads((out / "command.json").read_text())["data"]["label_noise"] == 0.4
    assert trainings[-1] == (["CosineDecay"], 1, "test")


def test_confirm_needs_a_finished_study(tmp_path, trainings, capsys):  # noqa: F811
    message = refused(f"confirm --arm mixup --out {tmp_path}", capsys)
    assert f"{tmp_path}: there is no study of `lightning-tricks ablate` there" in message
    run(f"ablate --seeds 1 --shard 1/2 --out {tmp_path}")
    assert "is not finished: 3 runs are missing" in refused(f"confirm --arm mixup --out {tmp_path}", capsys)
    run(f"ablate --seeds 1 --out {tmp_path}")
    assert "there is no arm 'mixu'. Did you mean 'mixup'?" in refused(f"confirm --arm mixu --out {tmp_path}", capsys)


def test_in_a_file_each_row_of_the_table_is_one_line(tmp_path, trainings, capsys):  # noqa: F811
    run(f"ablate --seeds 10 --tricks label_smoothing,cosine --out {tmp_path}")
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "inconclusive with 10 seeds" in line]
    assert [row[0] for row in rows] == ["label_smoothing", "cosine"]


def test_the_options_are_kept_for_confirm(tmp_path, trainings):  # noqa: F811
    run(f"ablate --seeds 1 --tricks cosine --lr 0.3 --data_dir elsewhere --out {tmp_path}")
    kept = json.loads((tmp_path / "command.json").read_text())
    assert (kept["training"]["lr"], kept["data"]["data_dir"], kept["study_options"]["tricks"]) == (
        0.3,
        "elsewhere",
        "cosine",
    )


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(tmp_path, monkeypatch, capsys):
    begun = []

    def interrupt_the_second(self):
        begun.append(self)
        if len(begun) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(study_command.Classifier, "on_train_epoch_end", interrupt_the_second)
    words = f"ablate --tricks cosine --seeds 1 --epochs 1 --batch_size 600 --out {tmp_path}"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        run(words)
    assert stop.value.code == 130
    assert signal.getsignal(signal.SIGINT) is handler
    message = capsys.readouterr().err.splitlines()[-1]
    assert (
        message
        == f"lightning-tricks: stopped; what is finished is kept in {tmp_path}, and the same command goes on from there"
    )
    assert len(list((tmp_path / "runs").glob("*.json"))) == 1
    run(words)
    assert len(begun) == 3, "the finished run was done again"
    assert "run 1 of 1 done: cosine, seed 0" in capsys.readouterr().err


def test_every_trick_trains(tmp_path, make_trainer):
    """One step of each, distillation aside, which the study above has trained."""
    data = study_command.choose_data("digits", batch_size=64, data_dir=tmp_path, image_size=8)(seed=0)
    for name, trick in TRICKS.items():
        if trick.callbacks_with_teacher is None:
            model = "resnet18" if name == "zero_gamma" else "tiny"
            module = study_command.Classifier(model=model, **trick.module)
            trainer = make_trainer(
                max_epochs=2, limit_train_batches=1, limit_val_batches=0, callbacks=trick.callbacks(2)
            )
            trainer.fit(module, datamodule=data)
            assert trainer.global_step == 2, name
