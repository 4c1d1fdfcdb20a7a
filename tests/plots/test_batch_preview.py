import csv
import gc
import sys
import weakref
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_tricks import BatchPreview, CutMix, Mixup, RandomErasing
from lightning_tricks.plots import batch_preview
from tests.plain import PlainModule, image_loader


class ImageLogger(Logger):
    """Takes pictures as Weights & Biases' logger does."""

    name, version = "images", 0

    def __init__(self):
        super().__init__()
        self.taken = []

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params):
        pass

    def log_image(self, key, images, step=None):
        self.taken.append((key, images, step))


class Recorder(pl.Callback):
    """Keeps what each training step got and what the optimizer made of it."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.weights.append([parameter.detach().clone() for parameter in pl_module.parameters()])


def png(path):
    from matplotlib.image import imread

    return imread(path)


def written(folder):
    return sorted(path.relative_to(folder) for path in Path(folder).rglob("*.png"))


@pytest.fixture
def drawn_rows(monkeypatch):
    """What the figures of a run were made from."""
    seen = []

    def record(owner, rows, **kwargs):
        seen.append(([(row.beside, row.batch) for row in rows], kwargs))
        return draw_rows(owner, rows, **kwargs)

    draw_rows = batch_preview.draw_rows
    monkeypatch.setattr(batch_preview, "draw_rows", record)
    return seen


def test_it_shows_the_first_batch_before_and_after_the_tricks(make_trainer, drawn_rows, tmp_path):
    seen = []

    class Module(PlainModule):
        def training_step(self, batch, batch_idx):
            seen.append(batch)
            return super().training_step(batch, batch_idx)

    preview = BatchPreview(max_images=3, mean=0.1, std=2.0, class_names=list("abcde"))
    callbacks = [CutMix(per_sample=True), preview, RandomErasing(p=0.5)]
    make_trainer(callbacks=callbacks, max_epochs=2).fit(Module(), image_loader())
    ((rows, arguments),) = drawn_rows
    (_, given), (beside, made) = rows
    assert beside == ["CutMix", "RandomErasing"]
    assert made is seen[0]
    assert torch.equal(given[0], next(iter(image_loader()))[0])
    assert arguments == {"max_images": 3, "mean": 0.1, "std": 2.0, "class_names": list("abcde")}
    assert written(tmp_path) == [Path("batch_preview_step=0.png")]
    assert png(tmp_path / "batch_preview_step=0.png").std() > 0.1


@pytest.mark.parametrize("place", [0, 1])
def test_its_place_in_the_list_does_not_matter(make_trainer, drawn_rows, place):
    callbacks = [Mixup(alpha=1.0)]
    callbacks.insert(place, BatchPreview())
    make_trainer(callbacks=callbacks).fit(PlainModule(), image_loader())
    ((rows, _),) = drawn_rows
    assert [beside[0] for beside, _ in rows] == ["from the loader", "Mixup"]


def test_without_tricks_it_shows_what_comes_from_the_loader(make_trainer, drawn_rows):
    make_trainer(callbacks=[BatchPreview()]).fit(PlainModule(), image_loader())
    (([(beside, batch)], _),) = drawn_rows
    assert beside == ["from the loader"]
    assert torch.equal(batch[0], next(iter(image_loader()))[0])


def test_every_n_epochs(make_trainer, tmp_path):
    callbacks = [BatchPreview(every_n_epochs=2), Mixup()]
    make_trainer(callbacks=callbacks, max_epochs=4).fit(PlainModule(), image_loader())
    assert written(tmp_path) == [Path("batch_preview_step=0.png"), Path("batch_preview_step=8.png")]


def test_each_fit_shows_its_first_batch(make_trainer, tmp_path):
    preview, module = BatchPreview(), PlainModule()
    trainer = make_trainer(callbacks=[Mixup(), preview])
    trainer.fit(module, image_loader())
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, image_loader())
    assert written(tmp_path) == [Path("batch_preview_step=0.png"), Path("batch_preview_step=4.png")]


def test_sanity_checking_and_validation_are_not_shown(make_trainer, drawn_rows, tmp_path):
    class Module(PlainModule):
        def validation_step(self, batch, batch_idx):
            return self.training_step(batch, batch_idx)

    trainer = make_trainer(callbacks=[Mixup(), BatchPreview()], num_sanity_val_steps=2)
    trainer.validate(Module(), image_loader())
    assert drawn_rows == []
    trainer.fit(Module(), image_loader(), image_loader(seed=1))
    ((rows, _),) = drawn_rows
    assert torch.equal(rows[0][1][0], next(iter(image_loader()))[0])


def test_tensorboard_gets_the_picture_and_the_disk_does_not(make_trainer, tmp_path):
    logger = TensorBoardLogger(tmp_path)
    make_trainer(callbacks=[Mixup(), BatchPreview()], logger=logger).fit(PlainModule(), image_loader())
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0}).Reload()
    (image,) = events.Images("batch_preview")
    assert image.step == 0
    assert (image.width, image.height) > (300, 200)
    assert written(tmp_path) == []


def test_a_logger_without_pictures_leaves_it_to_the_disk(make_trainer, tmp_path):
    logger = CSVLogger(tmp_path)
    make_trainer(callbacks=[Mixup(), BatchPreview()], logger=logger, log_every_n_steps=1).fit(
        PlainModule(), image_loader()
    )
    assert written(logger.log_dir) == [Path("batch_preview_step=0.png")]
    with open(Path(logger.log_dir) / "metrics.csv") as file:
        assert len(list(csv.DictReader(file))) == 4


def test_a_logger_with_log_image_gets_an_array(make_trainer, tmp_path):
    logger = ImageLogger()
    make_trainer(callbacks=[BatchPreview(every_n_epochs=1)], logger=logger, max_epochs=2).fit(
        PlainModule(), image_loader()
    )
    assert [(key, step) for key, _, step in logger.taken] == [("batch_preview", 0), ("batch_preview", 4)]
    (picture,) = logger.taken[0][1]
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert written(tmp_path) == []


def test_a_directory_is_used_beside_the_loggers(make_trainer, tmp_path):
    logger = ImageLogger()
    callbacks = [BatchPreview(directory=tmp_path / "a" / "b")]
    make_trainer(callbacks=callbacks, logger=logger).fit(PlainModule(), image_loader())
    assert written(tmp_path) == [Path("a/b/batch_preview_step=0.png")]
    assert len(logger.taken) == 1


def test_only_rank_zero_draws(make_trainer, drawn_rows, monkeypatch):
    trainer = make_trainer(callbacks=[Mixup(), BatchPreview()])
    monkeypatch.setattr(type(trainer), "is_global_zero", property(lambda self: False))
    trainer.fit(PlainModule(), image_loader())
    assert drawn_rows == []


def test_the_run_is_the_same_without_it(make_trainer):
    def run(*more):
        pl.seed_everything(3)
        recorder = Recorder()
        callbacks = [*more, CutMix(), RandomErasing(value="random"), recorder]
        make_trainer(callbacks=callbacks, max_epochs=2).fit(PlainModule(), image_loader(shuffle=True))
        return recorder.weights, torch.get_rng_state(), np.random.get_state()[1].copy()

    with_, without = run(BatchPreview(every_n_epochs=1)), run()
    assert len(with_[0]) == 8
    for ours, theirs in zip(with_[0], without[0], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(with_[1], without[1])
    np.testing.assert_array_equal(with_[2], without[2])


def test_nothing_is_kept(make_trainer):
    images = []

    class Module(PlainModule):
        def on_train_batch_start(self, batch, batch_idx):
            images.append(weakref.ref(batch[0]))

        def training_step(self, batch, batch_idx):
            images.append(weakref.ref(batch[0]))
            return super().training_step(batch, batch_idx)

    trainer = make_trainer(callbacks=[Mixup(alpha=1.0), BatchPreview()])
    trainer.fit(Module(), image_loader())
    gc.collect()
    assert len(images) == 8
    assert [reference() for reference in images[:2]] == [None, None]


def test_a_batch_that_is_no_picture_is_refused(make_trainer):
    class Module(PlainModule):
        def training_step(self, batch, batch_idx):
            return super().training_step((batch[0].view(-1, 3, 6, 4), batch[1]), batch_idx)

    data = torch.utils.data.TensorDataset(torch.rand(8, 72), torch.zeros(8, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"BatchPreview needs images of shape \(N, C, H, W\) with 1 or 3 channels"):
        make_trainer(callbacks=[BatchPreview()]).fit(Module(), torch.utils.data.DataLoader(data, batch_size=4))


def test_it_is_configured_from_yaml(tmp_path):
    arguments = {
        "every_n_epochs": 2,
        "max_images": 4,
        "mean": [0.5, 0.4, 0.3],
        "std": 0.25,
        "class_names": ["cat", "dog"],
        "directory": str(tmp_path),
    }
    parser = ArgumentParser()
    parser.add_argument("--callbacks", type=list[pl.Callback])
    config = [{"class_path": "lightning_tricks.BatchPreview", "init_args": arguments}]
    (preview,) = parser.instantiate(parser.parse_object({"callbacks": config})).callbacks
    assert {name: getattr(preview, name) for name in arguments} == arguments


def test_without_matplotlib_fit_says_so_at_once(make_trainer, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match="BatchPreview needs matplotlib"):
        make_trainer(callbacks=[BatchPreview()]).fit(PlainModule(), image_loader())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"every_n_epochs": 0}, ValueError, "BatchPreview needs every_n_epochs to be at least 1, but got 0"),
        ({"max_images": 0}, ValueError, "BatchPreview needs max_images to be at least 1, but got 0"),
        ({"mean": 0.5}, ValueError, "BatchPreview needs mean and std to be given together"),
        ({"class_names": 3}, TypeError, "BatchPreview needs class_names to be a list of names"),
        ({"directory": 3}, TypeError, "BatchPreview needs directory to be a path, but got 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        BatchPreview(**arguments)
