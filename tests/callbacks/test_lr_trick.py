"""One driver for all tricks: which learning rate each step uses, in the runs that a Trainer can make."""

import itertools
import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, GradientAccumulationScheduler
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_tricks import (
    ConstantWarmup,
    CosineDecay,
    GradualWarmup,
    LinearScaling,
    LRTrick,
    PolynomialDecay,
    StepDecay,
)
from tests.lr_recording import ManualModule, RecordingAdam, RecordingModule, RecordingSGD, loader, vectors


class Counting(LRTrick):
    """Step t uses t + 1 times the learning rate, so that the rates tell the steps."""

    def factor(self, step):
        return float(step + 1)


def counted(n, lr=0.1):
    return pytest.approx([lr * (step + 1) for step in range(n)], abs=1e-12)


def fit(make_trainer, module, callbacks, *, batches=4, **kwargs):
    trainer = make_trainer(callbacks=callbacks, **kwargs)
    trainer.fit(module, loader(batches))
    return trainer


# Composition


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_order_of_the_list_gives_the_same_product(make_trainer, order):
    tricks = [GradualWarmup(steps=3), CosineDecay(min_factor=0.1), Counting()]
    module = RecordingModule()
    fit(make_trainer, module, [tricks[index] for index in order], max_epochs=2)
    factors = [GradualWarmup(steps=3).factor(step) * (step + 1) for step in range(8)]
    falling = CosineDecay(min_factor=0.1, total_steps=5)
    expected = [0.1 * factor * falling.factor(max(step - 3, 0)) for step, factor in enumerate(factors)]
    assert module.used == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("decay", "falling"),
    [
        (CosineDecay(), lambda step: 0.5 + 0.5 * math.cos(math.pi * max(step - 5, 0) / 7)),
        (PolynomialDecay(power=2), lambda step: (1 - max(step - 5, 0) / 7) ** 2),
        (StepDecay(every_epochs=1), lambda step: 0.1 ** (step // 4)),
    ],
)
def test_the_whole_family_in_every_order(make_trainer, decay, falling):
    tricks = [LinearScaling(base_batch_size=4), ConstantWarmup(0.3, steps=2), GradualWarmup(epochs=1.25), decay]
    warming = [0.5 * (0.3 if step < 2 else 1) * min(step + 1, 5) / 5 for step in range(12)]
    expected = [0.1 * factor * falling(step) for step, factor in enumerate(warming)]
    for order in itertools.permutations(tricks):
        module = RecordingModule()
        fit(make_trainer, module, list(order), max_epochs=3)
        assert module.used == pytest.approx(expected, abs=1e-12)


def test_no_jump_from_the_warmup_through_the_decay_to_the_end(make_trainer):
    module = RecordingModule(lr=1.0)
    fit(make_trainer, module, [GradualWarmup(epochs=1), CosineDecay()], max_epochs=5, batches=20)
    steps = [abs(later - earlier) for earlier, later in itertools.pairwise(module.used)]
    # The cosine's steepest slope is π/2 over its 80 steps; the ramp rises by 1/20.
    assert max(steps) == pytest.approx(1 / 20, abs=1e-12)
    assert max(steps[20:]) <= torch.pi / 2 / 80 + 1e-12
    assert module.used[0] == pytest.approx(1 / 20)
    assert module.used[-1] < 0.001


def test_without_the_tricks_nothing_else_changes(make_trainer):
    ends = []
    for callbacks in ([], [GradualWarmup(steps=0)]):
        module = RecordingModule()
        fit(make_trainer, module, callbacks, max_epochs=2)
        ends.append((module.used, module.net.weight))
    assert ends[0][0] == ends[1][0] == [0.1] * 8
    assert torch.equal(ends[0][1], ends[1][1])


# Nominal everywhere but in the arithmetic


class Watcher(pl.Callback):
    """Notes the learning rate at every hook there is."""

    def __init__(self):
        self.seen = set()

    def __getattribute__(self, name):
        if not name.startswith(("on_", "setup", "teardown")) or name in ("on_save_checkpoint", "on_load_checkpoint"):
            return super().__getattribute__(name)

        def hook(trainer, pl_module, *args, **kwargs):
            self.seen |= {(name, group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups}

        return hook


class WatchedModule(RecordingModule):
    seen = ()

    def see(self):
        self.seen = {*self.seen, self.trainer.optimizers[0].param_groups[0]["lr"]}

    def training_step(self, batch, batch_idx):
        self.see()
        return super().training_step(batch, batch_idx)

    def optimizer_step(self, *args, **kwargs):
        self.see()
        super().optimizer_step(*args, **kwargs)
        self.see()

    def on_before_zero_grad(self, optimizer):
        self.see()

    def backward(self, loss):
        self.see()
        super().backward(loss)


@pytest.mark.parametrize("first", [True, False])
def test_all_hooks_see_the_nominal_rate(make_trainer, first):
    watcher = Watcher()
    module = WatchedModule()
    fit(make_trainer, module, [watcher, Counting()] if first else [Counting(), watcher], max_epochs=2)
    assert module.used == counted(8)
    assert module.seen == {0.1}
    assert {lr for _, lr in watcher.seen} == {0.1}
    assert {"on_before_optimizer_step", "on_train_batch_end", "on_before_zero_grad"} <= {
        name for name, _ in watcher.seen
    }


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end"])
def test_a_callback_that_sets_the_rate_is_respected(make_trainer, hook):
    def set_rate(trainer, *_):
        trainer.optimizers[0].param_groups[0]["lr"] = 1.0 + trainer.global_step

    setter = pl.Callback()
    setattr(setter, hook, lambda trainer, *args: set_rate(trainer))
    module = RecordingModule()
    fit(make_trainer, module, [Counting(), setter])
    nominal = [0.1, 2.0, 3.0, 4.0] if hook == "on_train_batch_end" else [1.0, 2.0, 3.0, 4.0]
    assert module.used == pytest.approx([lr * (step + 1) for step, lr in enumerate(nominal)], abs=1e-12)


def test_a_hand_written_warmup_in_optimizer_step_is_respected(make_trainer):
    class Own(RecordingModule):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            for group in optimizer.param_groups:
                group["lr"] = 0.5 / (1 + self.trainer.global_step)
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    module = Own()
    fit(make_trainer, module, [Counting()])
    assert module.used == pytest.approx([0.5] * 4, abs=1e-12)


def test_a_rate_set_in_the_arithmetic_itself_is_the_new_nominal_one(make_trainer):
    class Halving(RecordingSGD):
        def _init_group(self, group, *args, **kwargs):
            result = super()._init_group(group, *args, **kwargs)
            group["lr"] = 0.05
            return result

    module = RecordingModule(lambda module: Halving(module.parameters(), lr=0.1))
    trainer = fit(make_trainer, module, [Counting()])
    assert module.used == pytest.approx([0.1, 0.05 * 2, 0.05 * 3, 0.05 * 4], abs=1e-12)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.05


# Kinds of runs


@pytest.mark.parametrize(
    ("kwargs", "batches", "warmup", "steps"),
    [
        ({"accumulate_grad_batches": 3, "max_epochs": 2}, 7, 3, 6),
        ({"limit_train_batches": 3, "max_epochs": 2}, 4, 3, 6),
        ({"limit_train_batches": 0.5, "max_epochs": 2}, 4, 2, 4),
        ({"overfit_batches": 2, "max_epochs": 2}, 4, 2, 4),
        ({"max_epochs": -1, "max_steps": 7}, 4, 4, 7),
        ({"max_epochs": 2, "max_steps": 7}, 4, 4, 7),
        ({"max_epochs": 1, "max_steps": 7}, 5, 5, 5),
    ],
)
def test_the_horizon_and_the_epochs_are_those_of_the_optimizer(make_trainer, kwargs, batches, warmup, steps):
    module = RecordingModule()
    fit(make_trainer, module, [GradualWarmup(epochs=1), CosineDecay()], batches=batches, **kwargs)
    ramp = [(step + 1) / warmup for step in range(warmup)]
    falling = [0.5 + 0.5 * math.cos(math.pi * step / (steps - warmup)) for step in range(steps - warmup)]
    assert module.used == pytest.approx([0.1 * factor for factor in ramp + falling], abs=1e-12)


def test_validation_in_the_middle_of_an_epoch_changes_nothing(make_trainer):
    class Validated(RecordingModule):
        def validation_step(self, batch, batch_idx):
            self.log("val", self.net(batch[0]).mean())

    module = Validated()
    trainer = make_trainer(max_epochs=2, callbacks=[Counting()], val_check_interval=0.25)
    trainer.fit(module, loader(), loader())
    assert module.used == counted(8)


def test_gradient_accumulation_scheduler_with_lengths_in_steps(make_trainer):
    module = RecordingModule()
    scheduler = GradientAccumulationScheduler({0: 2, 1: 4})
    tricks = [GradualWarmup(steps=2), CosineDecay(total_steps=4)]
    fit(make_trainer, module, [scheduler, *tricks], max_epochs=3)
    assert module.used == pytest.approx([0.05, 0.1, 0.1, 0.05], abs=1e-12)


def test_groups_with_different_rates(make_trainer):
    def configure(module):
        return RecordingSGD([{"params": [module.net.weight], "lr": 0.3}, {"params": [module.net.bias]}], lr=0.1)

    module = RecordingModule(configure)
    trainer = fit(make_trainer, module, [Counting()])
    for step, rates in enumerate(trainer.optimizers[0].used):
        assert rates == pytest.approx([0.3 * (step + 1), 0.1 * (step + 1)], abs=1e-12)


class BackboneModule(RecordingModule):
    def __init__(self):
        super().__init__(lambda module: RecordingSGD(module.net.parameters(), lr=0.1))
        self.backbone = nn.Linear(3, 3)

    def training_step(self, batch, batch_idx):
        return self.net(self.backbone(batch[0])).square().mean()


def test_a_group_that_backbone_finetuning_adds(make_trainer):
    finetuning = BackboneFinetuning(
        unfreeze_backbone_at_epoch=1, backbone_initial_ratio_lr=0.5, lambda_func=lambda _: 2
    )
    module = BackboneModule()
    trainer = fit(make_trainer, module, [Counting(), finetuning], max_epochs=3)
    used = trainer.optimizers[0].used
    assert used[:4] == [pytest.approx([0.1 * (step + 1)], abs=1e-12) for step in range(4)]
    # It begins at half the rate and doubles at each epoch, never above the rest.
    assert used[4:] == [pytest.approx([0.1 * (step + 1), lr * (step + 1)], abs=1e-12)
                        for step, lr in zip(range(4, 12), [0.05] * 4 + [0.1] * 4, strict=True)]  # fmt: skip


def test_a_hook_that_returns_minus_1(make_trainer):
    class Skipping(RecordingModule):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 2 else None

    module = Skipping()
    trainer = fit(make_trainer, module, [Counting()], max_epochs=3)
    assert module.used == counted(6)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_a_training_step_that_returns_none_is_a_step_as_the_global_step_has_it(make_trainer):
    class Skipping(RecordingModule):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    module = Skipping()
    trainer = fit(make_trainer, module, [Counting()], max_epochs=2)
    assert len(module.used) == trainer.global_step
    assert module.used == counted(8)


def test_optimizers_that_are_made_anew_during_the_run(make_trainer):
    made = []

    def configure(module):
        made.append(RecordingSGD(module.parameters(), lr=0.1))
        return made[-1]

    class Rebuilding(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                trainer.strategy.setup_optimizers(trainer)

    fit(make_trainer, RecordingModule(configure), [Counting(), Rebuilding()], max_epochs=2)
    assert [rates for optimizer in made for [rates] in optimizer.used] == counted(8)
    assert not any(optimizer._optimizer_step_pre_hooks for optimizer in made)


# Manual optimisation


def test_manual_optimisation(make_trainer):
    module = ManualModule()
    fit(make_trainer, module, [GradualWarmup(epochs=1), CosineDecay()], max_epochs=3)
    rates = [(step + 1) / 4 for step in range(4)] + [CosineDecay(total_steps=8).factor(step) for step in range(8)]
    assert module.used == pytest.approx([0.1 * rate for rate in rates], abs=1e-12)


def two_optimizers(module):
    return [RecordingSGD([module.net.weight], lr=0.1), RecordingAdam([module.net.bias], lr=0.01)]


def test_two_optimizers_are_counted_each(make_trainer):
    module = ManualModule(two_optimizers, steps=(2, 1))
    trainer = fit(make_trainer, module, [Counting()], max_epochs=2)
    critic, generator = trainer.optimizers
    assert [lr for [lr] in critic.used] == counted(16)
    assert [lr for [lr] in generator.used] == counted(8, lr=0.01)


def test_two_optimizers_with_one_step_a_batch_know_their_horizon(make_trainer):
    module = ManualModule(two_optimizers, steps=(1, 1))
    trainer = fit(make_trainer, module, [CosineDecay()], max_epochs=2)
    for optimizer, lr in zip(trainer.optimizers, (0.1, 0.01), strict=True):
        expected = [lr * CosineDecay(total_steps=8).factor(step) for step in range(8)]
        assert [rate for [rate] in optimizer.used] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("steps", [(2, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("trick", [CosineDecay, lambda: GradualWarmup(epochs=1)])
def test_other_numbers_of_steps_a_batch_ask_for_lengths_in_steps(make_trainer, steps, trick):
    module = ManualModule(two_optimizers, steps=steps)
    message = rf"in the first epoch, .* but they made \[{4 * steps[0]}, {4 * steps[1]}\]; give steps= and total_steps="
    with pytest.raises(MisconfigurationException, match=message):
        fit(make_trainer, module, [trick()])


def test_a_batch_without_a_step_in_a_later_epoch_is_no_contradiction(make_trainer):
    class SkipsOne(ManualModule):
        def training_step(self, batch, batch_idx):
            if (self.trainer.current_epoch, batch_idx) != (1, 2):
                super().training_step(batch, batch_idx)

    module = SkipsOne()
    fit(make_trainer, module, [GradualWarmup(epochs=2)], max_epochs=2)
    assert module.used == counted(7, lr=0.1 / 8)


def test_two_critics_steps_a_batch_with_lengths_in_steps(make_trainer):
    module = ManualModule(two_optimizers, steps=(2, 1))
    trainer = fit(make_trainer, module, [GradualWarmup(steps=2), CosineDecay(total_steps=8)])
    critic = [lr for [lr] in trainer.optimizers[0].used]
    expected = [0.05, 0.1, *(0.1 * CosineDecay(total_steps=6).factor(step) for step in range(6))]
    assert critic == pytest.approx(expected, abs=1e-12)


def test_a_data_set_gets_its_loader_once(make_trainer):
    """The horizon is read where the loaders exist: reading it builds none."""
    made = []

    class Data(pl.LightningDataModule):
        def train_dataloader(self):
            made.append(torch.utils.data.DataLoader(vectors(), batch_size=2))
            return made[-1]

    make_trainer(callbacks=[GradualWarmup(epochs=0.5), CosineDecay()]).fit(RecordingModule(), datamodule=Data())
    assert len(made) == 1
