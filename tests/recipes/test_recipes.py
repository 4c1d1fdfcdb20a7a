import lightning.pytorch as pl
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

from lightning_tricks import (
    Augment,
    CosineDecay,
    CutMix,
    Distillation,
    GradualWarmup,
    LabelSmoothing,
    LinearScaling,
    Mixup,
    RandomChoice,
    RandomErasing,
    SoftTarget,
    plot_lr,
    recipes,
)
from tests.plain import PlainModule

RECIPES = {"bag_of_tricks": recipes.bag_of_tricks, "torchvision_2021": recipes.torchvision_2021}


def settings(value):
    """What a callback was built with, comparable: its class and its public attributes."""
    if isinstance(value, (list, tuple)):
        return [settings(entry) for entry in value]
    if isinstance(value, (pl.Callback, nn.Module)):
        public = {name: settings(entry) for name, entry in vars(value).items() if not name.startswith("_")}
        return type(value), public
    return value


def from_yaml(name):
    parser = ArgumentParser()
    parser.add_argument("--trainer.callbacks", type=list[pl.Callback])
    config = parser.parse_object(yaml.safe_load(recipes.config_path(name).read_text()))
    return parser.instantiate(config).trainer.callbacks


def kinds(callbacks):
    return [type(callback) for callback in callbacks]


def find(callbacks, kind):
    (found,) = [callback for callback in callbacks if isinstance(callback, kind)]
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_the_file_says_the_same_as_the_function(name):
    assert settings(from_yaml(name)) == settings(RECIPES[name]())


def test_settings_tell_recipes_apart():
    assert settings(recipes.torchvision_2021()) != settings(recipes.torchvision_2021(mean=0.5))


def test_bag_of_tricks_has_the_paper_s_settings():
    callbacks = recipes.bag_of_tricks()
    assert kinds(callbacks) == [Mixup, LabelSmoothing, LinearScaling, GradualWarmup, CosineDecay]
    mixup, smoothing, scaling, warmup, _ = callbacks
    assert (mixup.alpha, smoothing.label_smoothing, scaling.base_batch_size, warmup.epochs) == (0.2, 0.1, 256, 5)
    scaling.batch_size = scaling._whole_batch = 1024
    rates = plot_lr(callbacks, lr=0.1, steps_per_epoch=10, epochs=20).axes[0].lines[0].get_ydata()
    # The i-th of 50 batches gets i/50 of 0.1 · 1024 / 256.
    assert rates[:50] == pytest.approx([0.4 * (i + 1) / 50 for i in range(50)])


def test_bag_of_tricks_with_a_teacher_distils_at_the_paper_s_temperature():
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(72, 5))
    callbacks = recipes.bag_of_tricks(teacher=teacher)
    assert kinds(callbacks) == [*kinds(recipes.bag_of_tricks()), Distillation]
    batch = torch.rand(4, 3, 6, 4), torch.arange(4)
    assert callbacks[-1](batch)[1].teachers == ((20.0, 1.0, False),)
    assert callbacks[-1].teacher is teacher
    assert recipes.bag_of_tricks(teacher=teacher, temperature=3.0)[-1](batch)[1].teachers == ((3.0, 1.0, False),)


def test_torchvision_2021_has_the_published_settings():
    callbacks = recipes.torchvision_2021()
    assert kinds(callbacks) == [Augment, RandomErasing, RandomChoice, LabelSmoothing, GradualWarmup, CosineDecay]
    assert type(find(callbacks, Augment).transform).__name__ == "TrivialAugmentWide"
    erasing = find(callbacks, RandomErasing)
    assert (erasing.p, erasing.scale, erasing.value) == (0.1, (0.02, 0.33), (0.485, 0.456, 0.406))
    mixup, cutmix = find(callbacks, RandomChoice).tricks
    assert (type(mixup), mixup.alpha, type(cutmix), cutmix.alpha) == (Mixup, 0.2, CutMix, 1.0)
    assert find(callbacks, RandomChoice).weights == (0.5, 0.5)
    assert find(callbacks, LabelSmoothing).label_smoothing == 0.1


def test_torchvision_2021_erases_with_the_mean_of_the_data():
    assert find(recipes.torchvision_2021(mean=0.3), RandomErasing).value == 0.3


def test_torchvision_2021_has_torchvision_s_learning_rates_at_each_epoch():
    epochs, steps = 20, 7
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = SequentialLR(
        optimizer,
        [LinearLR(optimizer, start_factor=0.01, total_iters=5), CosineAnnealingLR(optimizer, T_max=epochs - 5)],
        milestones=[5],
    )
    expected = []
    for _ in range(epochs):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    figure = plot_lr(recipes.torchvision_2021(), lr=0.5, steps_per_epoch=steps, epochs=epochs)
    assert figure.axes[0].lines[0].get_ydata()[:-1:steps] == pytest.approx(expected)


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_trains_on_what_the_recipe_makes(make_trainer, name):
    seen = []

    class Module(PlainModule):
        def training_step(self, batch, batch_idx):
            seen.append(batch)
            return super().training_step(batch, batch_idx)

    images = torch.rand(14, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(images, torch.arange(14) % 5)
    module = Module()
    make_trainer(callbacks=from_yaml(name), max_epochs=6).fit(module, DataLoader(data, batch_size=7))
    assert len(seen) == 12
    for (made, target), given in zip(seen, [images[:7], images[7:]] * 6, strict=True):
        assert isinstance(target, SoftTarget)
        assert target.label_smoothing == 0.1
        assert made.shape == given.shape
    assert not torch.equal(seen[0][0], images[:7])
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_callbacks_are_new_each_time():
    first, second = recipes.torchvision_2021(), recipes.torchvision_2021()
    assert not {id(callback) for callback in first} & {id(callback) for callback in second}


def test_a_recipe_that_is_not_there():
    with pytest.raises(ValueError, match=r"no recipe 'imagenet'\. There are: bag_of_tricks, torchvision_2021\."):
        recipes.config_path("imagenet")
