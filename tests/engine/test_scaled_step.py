"""One optimizer's learning rates: scaled in its arithmetic, nominal everywhere else, whatever the optimizer does."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_tricks import GradualWarmup
from lightning_tricks.engine.scaled_step import ScaledStep
from tests.lr_recording import ManualModule, RecordingAdam, RecordingModule, RecordingSGD, loader, recording


def rising(count):
    return float(count + 2)


def parameters(n=2):
    return [nn.Parameter(torch.tensor([1.0, 2.0, 3.0]) + index) for index in range(n)]


def attach(optimizer, factor=rising, is_active=lambda: True):
    return ScaledStep(optimizer, count=0, factor=factor, is_active=is_active)


def backward(optimizer):
    optimizer.zero_grad()
    loss = sum(parameter.square().sum() for group in optimizer.param_groups for parameter in group["params"])
    loss.backward()
    return loss


def step_by_hand(optimizer, steps=4, closures=False):
    """The reference: the rate is set before each step and set back after it."""
    nominal = [group["lr"] for group in optimizer.param_groups]
    for count in range(steps):
        for group, lr in zip(optimizer.param_groups, nominal, strict=True):
            group["lr"] = lr * rising(count)
        if closures:
            optimizer.step(lambda: backward(optimizer))
        else:
            backward(optimizer)
            optimizer.step()


OPTIMIZERS = {
    "SGD foreach": lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9, foreach=True),
    "SGD for loop": lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9, foreach=False),
    "SGD fused": lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9, fused=True),
    "Adam foreach": lambda params: torch.optim.Adam(params, lr=0.01, foreach=True),
    "Adam fused": lambda params: torch.optim.Adam(params, lr=0.01, fused=True),
    "AdamW fused": lambda params: torch.optim.AdamW(params, lr=0.01, fused=True),
    "RMSprop": lambda params: torch.optim.RMSprop(params, lr=0.01),
    "Adagrad": lambda params: torch.optim.Adagrad(params, lr=0.01),
    "NAdam": lambda params: torch.optim.NAdam(params, lr=0.01),
    "ASGD": lambda params: torch.optim.ASGD(params, lr=0.01, t0=1),
    "LBFGS": lambda params: torch.optim.LBFGS(params, lr=0.01, max_iter=3),
    "LBFGS with a line search": lambda params: torch.optim.LBFGS(params, lr=0.01, line_search_fn="strong_wolfe"),
}


@pytest.mark.parametrize(
    ("name", "closures"),
    [(name, True) for name in OPTIMIZERS] + [(name, False) for name in OPTIMIZERS if "LBFGS" not in name],
)
def test_the_weights_are_those_of_rates_set_by_hand(name, closures):
    optimizer, reference = OPTIMIZERS[name](parameters()), OPTIMIZERS[name](parameters())
    attach(optimizer)
    for _ in range(4):
        if closures:
            optimizer.step(lambda: backward(optimizer))
        else:
            backward(optimizer)
            optimizer.step()
    step_by_hand(reference, closures=closures)
    for ours, theirs in zip(optimizer.param_groups[0]["params"], reference.param_groups[0]["params"], strict=True):
        assert torch.equal(ours, theirs)
    assert optimizer.param_groups[0]["lr"] == 0.01


def test_lbfgs_uses_the_scaled_rate_although_it_reads_it_before_the_closure():
    parameter = nn.Parameter(torch.tensor([0.25]))
    optimizer = torch.optim.LBFGS([parameter], lr=0.5, max_iter=1)
    attach(optimizer, factor=lambda count: 0.2)
    optimizer.step(lambda: backward(optimizer))
    # The gradient is 0.5, so its first step is min(1, 1 / 0.5) · lr · 0.5.
    assert parameter.item() == pytest.approx(0.25 - 0.5 * 0.2 * 0.5, abs=1e-7)


@pytest.mark.parametrize("keyword", [True, False])
def test_a_closure_runs_at_the_nominal_rate_each_time(keyword):
    optimizer = torch.optim.LBFGS(parameters(1), lr=0.1, max_iter=4)
    step = attach(optimizer)
    seen = []

    def closure():
        seen.append(optimizer.param_groups[0]["lr"])
        return backward(optimizer)

    for _ in range(2):
        if keyword:
            optimizer.step(closure=closure)
        else:
            optimizer.step(closure)
    assert len(seen) > 2
    assert set(seen) == {0.1}
    assert step.count == 2


def test_a_closure_that_sets_the_rate_sets_the_nominal_one():
    optimizer = RecordingSGD(parameters(1), lr=0.1)
    attach(optimizer)

    def closure():
        optimizer.param_groups[0]["lr"] = 0.4
        return backward(optimizer)

    optimizer.step(closure)
    assert optimizer.used == [[pytest.approx(0.8)]]
    assert optimizer.param_groups[0]["lr"] == 0.4


def test_a_step_that_ignores_its_closure_is_scaled():
    class Deaf(RecordingSGD):
        def step(self, closure=None):
            return super().step()

    optimizer = Deaf(parameters(1), lr=0.1)
    attach(optimizer)
    backward(optimizer)
    optimizer.step(lambda: None)
    assert optimizer.used == [[pytest.approx(0.2)]]


class CallsParent(RecordingSGD):
    def step(self, closure=None):
        return super().step(closure)


class CallsClosureItself(RecordingSGD):
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        super().step()
        return loss


class WrapsClosure(RecordingSGD):
    def step(self, closure=None):
        return super().step(None if closure is None else lambda: closure())


class StepsTwice(RecordingSGD):
    def step(self, closure=None):
        super().step(closure)
        return super().step(closure)


@pytest.mark.parametrize("kind", [CallsParent, CallsClosureItself, WrapsClosure])
@pytest.mark.parametrize("closures", [True, False])
def test_an_optimizer_whose_step_calls_its_parents(kind, closures):
    RecordingSGD(parameters(1), lr=0.1)  # one of the parent's makes the parent's own step run the hooks
    optimizer = kind(parameters(1), lr=0.1)
    step = attach(optimizer)
    seen = set()

    def closure():
        seen.add(optimizer.param_groups[0]["lr"])
        return backward(optimizer)

    for _ in range(3):
        if closures:
            optimizer.step(closure)
        else:
            backward(optimizer)
            optimizer.step()
    assert [lr for [lr] in optimizer.used] == pytest.approx([0.2, 0.3, 0.4], abs=1e-12)
    assert seen == ({0.1} if closures else set())
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert step.count == 3


def test_two_arithmetics_in_one_step_have_one_rate_and_count_once():
    RecordingSGD(parameters(1), lr=0.1)
    optimizer = StepsTwice(parameters(1), lr=0.1)
    step = attach(optimizer)
    optimizer.step(lambda: backward(optimizer))
    assert [lr for [lr] in optimizer.used] == pytest.approx([0.2, 0.2], abs=1e-12)
    assert (step.count, optimizer.param_groups[0]["lr"]) == (1, 0.1)


# Rates that are tensors


def tensor_rates(shared):
    first, second = parameters(2)
    rate = torch.tensor(0.1, dtype=torch.float64)
    other = rate if shared else torch.tensor(0.3, dtype=torch.float64)
    groups = [{"params": [first], "lr": rate}, {"params": [second], "lr": other}]
    return RecordingAdam(groups, lr=rate, foreach=False), rate, other


@pytest.mark.parametrize("shared", [True, False])
def test_a_tensor_is_scaled_once_and_stays_the_same_object(shared):
    optimizer, rate, other = tensor_rates(shared)
    attach(optimizer)
    for _ in range(2):
        backward(optimizer)
        optimizer.step()
    second = 0.1 if shared else 0.3
    expected = [[0.2, 2 * second], [0.3, 3 * second]]
    assert optimizer.used == [pytest.approx(rates, abs=1e-12) for rates in expected]
    assert optimizer.param_groups[0]["lr"] is rate
    assert optimizer.param_groups[1]["lr"] is other
    assert (rate.item(), other.item()) == (0.1, second)


def test_a_tensor_that_is_learned_is_scaled_without_a_gradient():
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    optimizer = RecordingSGD(parameters(1), lr=rate, foreach=False)
    attach(optimizer)
    backward(optimizer)
    optimizer.step()
    assert optimizer.used == [[pytest.approx(0.2, abs=1e-12)]]
    assert rate.item() == 0.1
    assert rate.is_leaf


def test_a_tensor_of_one_element_in_a_dimension():
    rate = torch.tensor([0.1], dtype=torch.float64)
    optimizer = RecordingSGD(parameters(1), lr=rate, foreach=False)
    attach(optimizer)
    backward(optimizer)
    optimizer.step()
    assert optimizer.used == [[pytest.approx(0.2, abs=1e-12)]]
    assert rate.tolist() == [0.1]


@pytest.mark.parametrize("in_place", [True, False])
def test_a_tensor_that_is_set_during_the_step_is_the_new_nominal_rate(in_place):
    class Setting(RecordingSGD):
        def _init_group(self, group, *args, **kwargs):
            result = super()._init_group(group, *args, **kwargs)
            if in_place:
                group["lr"].fill_(0.7)
            else:
                group["lr"] = 0.7
            return result

    rate = torch.tensor(0.1, dtype=torch.float64)
    optimizer = Setting(parameters(1), lr=rate, foreach=False)
    attach(optimizer)
    backward(optimizer)
    optimizer.step()
    assert float(optimizer.param_groups[0]["lr"]) == 0.7
    assert rate.item() == (0.7 if in_place else 0.1)


@pytest.mark.filterwarnings("ignore:.*")  # torch's own, of the compiler
def test_a_compiled_step_reads_the_scaled_tensor():
    rate = torch.tensor(0.1, dtype=torch.float64)
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=rate, foreach=False)
    step = attach(optimizer)
    compiled = torch.compile(lambda: optimizer.step(), backend="eager")
    moves = []
    for _ in range(3):
        before = parameter.item()
        parameter.grad = torch.ones_like(parameter)
        compiled()
        moves.append(before - parameter.item())
    assert moves == pytest.approx([0.2, 0.3, 0.4], abs=1e-12)
    assert (rate.item(), step.count) == (0.1, 3)


@pytest.mark.filterwarnings("ignore:.*")  # torch's own, of the compiler
def test_a_capturable_step_reads_the_scaled_tensor():
    """On the CPU torch allows it to a compiled step alone."""

    def run(set_rate, hooked):
        rate = torch.tensor(0.1, dtype=torch.float64)
        parameter = nn.Parameter(torch.ones(3, dtype=torch.float64))
        optimizer = torch.optim.Adam([parameter], lr=rate, capturable=True, foreach=False)
        if hooked:
            attach(optimizer)
        compiled = torch.compile(lambda: optimizer.step(), backend="eager")
        for step in range(3):
            set_rate(rate, step)
            parameter.grad = torch.full_like(parameter, step - 0.5)
            compiled()
        assert optimizer.param_groups[0]["lr"] is rate
        return parameter.detach(), rate.item()

    by_hand, _ = run(lambda rate, step: rate.fill_(0.1 * rising(step)), hooked=False)
    weights, rate = run(lambda rate, step: None, hooked=True)
    plain, _ = run(lambda rate, step: None, hooked=False)
    torch.testing.assert_close(weights, by_hand, rtol=0, atol=1e-12)
    assert not torch.allclose(weights, plain)
    assert rate == 0.1


# Steps that end badly


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1, dtype=torch.float64)])
def test_a_step_that_raises_does_not_count_and_can_be_abandoned(rate):
    class Failing(RecordingSGD):
        fails = True

        def _init_group(self, group, *args, **kwargs):
            super()._init_group(group, *args, **kwargs)
            if self.fails:
                raise MemoryError("full")

    optimizer = Failing(parameters(1), lr=rate, foreach=False)
    step = attach(optimizer)
    backward(optimizer)
    with pytest.raises(MemoryError, match="full"):
        optimizer.step()
    step.abandon()
    assert float(optimizer.param_groups[0]["lr"]) == 0.1
    optimizer.fails = False
    optimizer.step()
    assert [lr for [lr] in optimizer.used] == pytest.approx([0.2, 0.2], abs=1e-12)
    assert step.count == 1


def test_a_closure_that_raises_leaves_the_nominal_rate():
    optimizer = RecordingSGD(parameters(1), lr=0.1)
    attach(optimizer)

    def closure():
        raise KeyError("no batch")

    with pytest.raises(KeyError, match="no batch"):
        optimizer.step(closure)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_closure_that_raises_can_be_tried_again():
    optimizer = RecordingSGD(parameters(1), lr=0.1)
    step = attach(optimizer)
    calls = []

    def closure():
        calls.append(optimizer.param_groups[0]["lr"])
        if len(calls) == 1:
            raise MemoryError("full")
        return backward(optimizer)

    with pytest.raises(MemoryError, match="full"):
        optimizer.step(closure)
    optimizer.step(closure)
    assert optimizer.used == [[pytest.approx(0.2)]]
    assert calls == [0.1, 0.1]
    assert (step.count, optimizer.param_groups[0]["lr"]) == (1, 0.1)


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)])
def test_what_is_shown_is_the_rate_of_the_next_step_and_no_part_of_the_state(rate):
    optimizer = torch.optim.SGD(parameters(1), lr=rate)
    scaled = attach(optimizer)
    for _ in range(2):
        scaled.show()
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.2)
        assert optimizer.state_dict()["param_groups"][0]["lr"] is rate
    scaled.hide()
    assert optimizer.param_groups[0]["lr"] is rate


def test_where_it_is_not_active_the_step_is_left_alone():
    optimizer = RecordingSGD(parameters(1), lr=0.1)
    step = attach(optimizer, is_active=lambda: False)
    optimizer.step(lambda: backward(optimizer))
    assert optimizer.used == [[0.1]]
    assert step.count == 0


def test_detached_it_leaves_no_hook():
    optimizer = RecordingSGD(parameters(1), lr=0.1)
    step = attach(optimizer)
    step.detach()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_state_dict_post_hooks
    optimizer.step(lambda: backward(optimizer))
    assert optimizer.used == [[0.1]]


def test_what_is_no_optimizer_or_has_no_rate_is_refused():
    with pytest.raises(MisconfigurationException, match=r"need a torch\.optim\.Optimizer, but got object"):
        attach(object())
    optimizer = torch.optim.SGD(parameters(1), lr=0.1)
    optimizer.param_groups[0]["lr"] = None
    with pytest.raises(MisconfigurationException, match="parameter group 0 of SGD has none"):
        attach(optimizer)


# In a Trainer


def test_lbfgs_in_a_trainer(make_trainer):
    def run(callbacks, factors):
        module = RecordingModule(lambda module: torch.optim.LBFGS(module.parameters(), lr=0.1, max_iter=2))

        class Setting(pl.Callback):
            def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
                trainer.optimizers[0].param_groups[0]["lr"] = 0.1 * factors[batch_idx]

        make_trainer(callbacks=[Setting(), *callbacks]).fit(module, loader())
        return module.net.weight

    by_hand = run([], [0.25, 0.5, 0.75, 1.0])
    assert torch.allclose(run([GradualWarmup(steps=4)], [1.0] * 4), by_hand, atol=1e-7)
    assert not torch.allclose(run([], [1.0] * 4), by_hand, atol=1e-3)


def test_the_rate_that_lbfgs_takes_in_a_trainer(make_trainer):
    """It keeps the length of its step, which is the rate from its second iteration on."""
    taken = []

    class Reading(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            [state] = trainer.optimizers[0].state.values()
            taken.append(state["t"])

    module = RecordingModule(lambda module: torch.optim.LBFGS(module.parameters(), lr=0.1, max_iter=1))
    make_trainer(callbacks=[GradualWarmup(steps=6), Reading()]).fit(module, loader(8))
    assert taken[1:] == pytest.approx([0.1 * min(step + 1, 6) / 6 for step in range(1, 8)], abs=1e-12)


class Overflowing(RecordingModule):
    """Its loss is infinite at the batches of ``at``, so that a gradient scaler skips their steps."""

    at = (1, 2)

    def training_step(self, batch, batch_idx):
        loss = self.net(batch[0]).float().square().mean()
        return loss * float("inf") if batch_idx in self.at else loss


def scaled_fit(make_trainer, module, callbacks):
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    make_trainer(callbacks=callbacks, plugins=[precision]).fit(module, loader(6))
    return module.used


@pytest.mark.filterwarnings("ignore:In CPU autocast, but the target dtype is not supported")
def test_steps_that_a_scaler_skips_do_not_count(make_trainer):
    used = scaled_fit(make_trainer, Overflowing(), [GradualWarmup(steps=5)])
    assert used == pytest.approx([0.02, 0.04, 0.06, 0.08], abs=1e-12)


def test_steps_that_a_fused_optimizer_skips_count(make_trainer):
    def configure(module):
        return recording(torch.optim.Adam)(module.parameters(), lr=0.1, fused=True)

    module = Overflowing(configure)
    used = scaled_fit(make_trainer, module, [GradualWarmup(steps=5)])
    assert used == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1], abs=1e-12)
    assert module.trainer.optimizers[0].state[module.net.weight]["step"].item() == 4  # two of the six were skipped


def test_skipped_steps_of_a_manual_optimisation_do_not_contradict_its_epochs(make_trainer):
    class Manual(ManualModule):
        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            loss = self.net(batch[0]).float().square().mean()
            self.manual_backward(loss * float("inf") if batch_idx == 1 else loss)
            optimizer.step()

    used = scaled_fit(make_trainer, Manual(), [GradualWarmup(epochs=0.5)])
    assert used == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1], abs=1e-12)


def test_an_error_that_the_training_step_survives(make_trainer):
    class Failing(RecordingSGD):
        def _init_group(self, group, *args, **kwargs):
            result = super()._init_group(group, *args, **kwargs)
            if len(self.used) == 2:
                raise MemoryError("full")
            return result

    class Surviving(RecordingModule):
        def optimizer_step(self, *args, **kwargs):
            try:
                super().optimizer_step(*args, **kwargs)
            except MemoryError:
                self.survived = True

    module = Surviving(lambda module: Failing(module.parameters(), lr=0.1))
    make_trainer(callbacks=[GradualWarmup(steps=4)]).fit(module, loader(5))
    assert module.survived
    assert module.used == pytest.approx([0.025, 0.05, 0.05, 0.075, 0.1], abs=1e-12)


class OwnScaler(ManualModule):
    def __init__(self, configure=None):
        super().__init__(configure)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)


def test_a_scaler_of_the_modules_own_skips_a_step_unseen(make_trainer):
    class Skipping(OwnScaler):
        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            loss = self.net(batch[0]).square().mean()
            self.scaler.scale(loss * float("inf") if batch_idx == 1 else loss).backward()
            self.scaler.step(optimizer)
            self.scaler.update()

    module = Skipping()
    make_trainer(callbacks=[GradualWarmup(epochs=0.25)]).fit(module, loader(12))
    assert module.used == pytest.approx([0.1 / 3, 0.2 / 3, *[0.1] * 9], abs=1e-12)


def test_a_scaler_of_the_modules_own_excuses_no_accumulation(make_trainer):
    class Accumulating(OwnScaler):
        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            self.scaler.scale(self.net(batch[0]).square().mean()).backward()
            if batch_idx % 2:
                self.scaler.step(optimizer)
                self.scaler.update()

    with pytest.raises(MisconfigurationException, match=r"but they made \[3\]"):
        make_trainer(callbacks=[GradualWarmup(epochs=0.5)]).fit(Accumulating(), loader(6))
