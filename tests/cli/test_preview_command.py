import matplotlib.image
import pytest
from matplotlib.figure import Figure

from lightning_tricks.callbacks.batch_trick import BatchTrick
from lightning_tricks.callbacks.linear_scaling import LinearScaling
from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.cli import preview_command
from lightning_tricks.cli.command import run_command
from lightning_tricks.cli.options import DataOptions, PreviewOptions
from lightning_tricks.cli.tricks import TRICKS
from tests.data.image_files import CLASSES, write_images


def run(text):
    run_command(text.split())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("tricks", "files"),
    [
        ("mixup,cosine", ["batch.png", "learning_rate.png"]),
        ("cutmix", ["batch.png"]),
        ("warmup,no_bias_decay", ["learning_rate.png"]),
    ],
)
def test_files(tricks, files, tmp_path, capsys):
    run(f"preview --tricks {tricks} --images 2 --out {tmp_path / 'new' / 'folder'}")
    assert names(tmp_path / "new" / "folder") == files
    assert capsys.readouterr().out.splitlines() == [f"Written: {tmp_path / 'new' / 'folder' / name}" for name in files]
    for name in files:
        assert matplotlib.image.imread(tmp_path / "new" / "folder" / name).std() > 0


NOT_DRAWN = {
    "distillation": "distillation needs a trained teacher and cannot be drawn without a training",
    **dict.fromkeys(
        ("no_bias_decay", "zero_gamma", "adabound"),
        "none of these tricks changes the batch or the learning rate; there is nothing to draw",
    ),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_every_trick_is_drawn_or_refused_plainly(trick, tmp_path, capsys):
    words = f"preview --tricks {trick} --images 2 --out {tmp_path / 'new'}"
    if trick in NOT_DRAWN:
        with pytest.raises(SystemExit, match="2"):
            run(words)
        assert capsys.readouterr().err == f"lightning-tricks: {NOT_DRAWN[trick]}\n"
    else:
        run(words)
        (callback,) = TRICKS[trick].callbacks(10)
        files = {"batch.png": BatchTrick, "learning_rate.png": LRTrick}
        assert names(tmp_path / "new") == [name for name, kind in files.items() if isinstance(callback, kind)]


def test_all_that_go_together_are_drawn_together(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(preview_command, "plot_lr", lambda *args, **kwargs: calls.append(args[0]) or Figure())
    together = [trick for trick in TRICKS if trick not in {"distillation", "step", "polynomial"}]
    run(f"preview --tricks {','.join(together)} --images 2 --batch-size 32 --out {tmp_path}")
    assert names(tmp_path) == ["batch.png", "learning_rate.png"]
    (scaling,) = [callback for callback in calls[0] if isinstance(callback, LinearScaling)]
    assert scaling.factor(0) == 32 / 256


def test_options_reach_the_pictures(tmp_path, monkeypatch):
    calls = {}
    monkeypatch.setattr(preview_command, "preview", lambda *args, **kwargs: calls.update(batch=(args, kwargs)))
    monkeypatch.setattr(preview_command, "plot_lr", lambda *args, **kwargs: calls.update(lr=(args, kwargs)))
    root = write_images(tmp_path, count=10)
    options = PreviewOptions(tricks="cutmix,warmup", images=3, seed=4, epochs=20, lr=0.3)
    preview_command._figures(options, DataOptions(data=str(root), image_size=9, batch_size=6))
    (callbacks, (images, labels)), named = calls["batch"]
    assert [type(callback).__name__ for callback in callbacks] == ["CutMix", "GradualWarmup"]
    assert callbacks[1].epochs == 2
    assert (images.shape, labels.shape) == ((6, 3, 9, 9), (6,))
    assert (named["rng"], named["max_images"], tuple(named["class_names"])) == (4, 3, CLASSES)
    assert len(named["mean"]) == len(named["std"]) == 3
    assert calls["lr"][1] == {"lr": 0.3, "steps_per_epoch": 3, "epochs": 20}


@pytest.mark.parametrize(
    ("tricks", "message"),
    [
        ("no_bias_decay", "there is nothing to draw"),
        ("distillation,mixup", "distillation needs a trained teacher"),
        ("cosine,step", "one decay of the learning rate"),
        ("mixpu", "Did you mean 'mixup'?"),
    ],
)
def test_what_cannot_be_drawn(tricks, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(f"preview --tricks {tricks} --out {tmp_path / 'new'}")
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
