"""Optimizers that wrap another one: scaled like any other, or refused at the start with nothing left behind."""

import copy
from collections import defaultdict

import pytest
import pytorch_optimizer
import timm.optim
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as schedulers

from lightning_tricks import GradualWarmup
from lightning_tricks.engine.scaled_step import ScaledStep
from tests.lr_recording import ManualModule, RecordingModule, RecordingSGD, loader


class Wrapper(Optimizer):
    """The plainest one: it does not call the constructor of Optimizer, so that torch runs no hook at its step."""

    def __init__(self, inner):
        self.inner = inner
        self.defaults = inner.defaults
        self.state = inner.state
        self.param_groups = inner.param_groups

    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad(set_to_none)  # that of Optimizer would wrap the step of the class

    def step(self, closure=None):
        return self.inner.step(closure)


class NewList(Wrapper):
    param_groups = property(lambda self: list(self.inner.param_groups), lambda self, groups: None)


class Delegating(Wrapper):
    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


class WithOwnArithmetic(Wrapper):
    """Uses the learning rate itself too, before the optimizer inside does."""

    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"])
        self.inner.step()
        return loss


class OfTwo(Wrapper):
    """Holds one optimizer for each parameter, in a list."""

    def __init__(self, inner):
        [group] = inner.param_groups
        self.parts = [SGD([parameter], lr=0.1) for parameter in group["params"]]
        self.state = defaultdict(dict)
        self.defaults = {}
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none=True):
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self, closure=None):
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss


def schedule_free(parameters):
    optimizer = pytorch_optimizer.ScheduleFreeWrapper(SGD(parameters, lr=0.1))
    optimizer.train()
    return optimizer


WRAPPERS = {
    "plain": lambda parameters: Wrapper(SGD(parameters, lr=0.1)),
    "a new list of the same groups": lambda parameters: NewList(SGD(parameters, lr=0.1)),
    "__getattr__": lambda parameters: Delegating(SGD(parameters, lr=0.1)),
    "arithmetic of its own": lambda parameters: WithOwnArithmetic(SGD(parameters, lr=0.1)),
    "two inside": lambda parameters: OfTwo(SGD(parameters, lr=0.1)),
    "a wrapper in a wrapper": lambda parameters: Wrapper(timm.optim.Lookahead(SGD(parameters, lr=0.1), k=2)),
    "timm Lookahead": lambda parameters: timm.optim.Lookahead(SGD(parameters, lr=0.1), k=2),
    "Lookahead": lambda parameters: pytorch_optimizer.Lookahead(SGD(parameters, lr=0.1), k=2),
    "OrthoGrad": lambda parameters: pytorch_optimizer.OrthoGrad(SGD(parameters, lr=0.1)),
    "ScheduleFreeWrapper": schedule_free,
    "TRAC": lambda parameters: pytorch_optimizer.TRAC(SGD(parameters, lr=0.1)),
    "Magma": lambda parameters: pytorch_optimizer.Magma(SGD(parameters, lr=0.1), mask_prob=1.0),
    "SAM": lambda parameters: pytorch_optimizer.SAM(parameters, SGD, lr=0.1),
    "LookSAM": lambda parameters: pytorch_optimizer.LookSAM(parameters, SGD, lr=0.1, k=2),
    "FriendlySAM": lambda parameters: pytorch_optimizer.FriendlySAM(parameters, SGD, lr=0.1),
}


def parameters():
    return [nn.Parameter(torch.tensor([1.0, 2.0, 3.0])), nn.Parameter(torch.tensor([2.0, -1.0]))]


def rising(count):
    return (count + 1) / 4


def instance_state(optimizer):
    """What a hook or a patch would leave."""
    return {name: copy.copy(value) for name, value in vars(optimizer).items() if "hook" in name or name == "step"}


def everything(optimizer):
    return [optimizer, *(value for value in vars(optimizer).values() if isinstance(value, Optimizer))]


def train(optimizer, before_step=lambda count: None, steps=4):
    def closure():
        optimizer.zero_grad()
        loss = sum(parameter.square().sum() for group in optimizer.param_groups for parameter in group["params"])
        loss.backward()
        return loss

    for count in range(steps):
        before_step(count)
        if not isinstance(optimizer, pytorch_optimizer.ScheduleFreeWrapper):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    return [parameter.detach() for group in optimizer.param_groups for parameter in group["params"]]


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_weights_are_those_of_rates_set_by_hand(name, scheduled):
    reference = WRAPPERS[name](parameters())

    def set_rate(count):
        for group in reference.param_groups:
            group["lr"] = 0.1 * rising(count)

    expected = train(reference, set_rate)
    optimizer = WRAPPERS[name](parameters())
    if scheduled:
        schedulers.ConstantLR(optimizer, factor=1.0)  # it replaces the step of the instance
    before = [instance_state(one) for one in everything(optimizer)]
    scaled = ScaledStep(optimizer, count=0, factor=rising, is_active=lambda: True)
    weights = train(optimizer)
    assert all(map(torch.equal, weights, expected))
    assert (scaled.count, {group["lr"] for group in optimizer.param_groups}) == (4, {0.1})
    scaled.detach()
    assert [instance_state(one) for one in everything(optimizer)] == before


@pytest.mark.parametrize("name", WRAPPERS)
def test_in_a_trainer(make_trainer, name):
    """A constant learning rate of a quarter is the same as a constant factor of a quarter."""

    class Quarter(GradualWarmup):
        def factor(self, step):
            return 0.25

    def run(lr, callbacks):
        torch.manual_seed(0)

        def configure(module):
            optimizer = WRAPPERS[name](list(module.parameters()))
            for group in optimizer.param_groups:
                group["lr"] = lr
            return [optimizer], [{"scheduler": schedulers.StepLR(optimizer, 3, 0.5), "interval": "step"}]

        module = ManualModule(configure) if name == "ScheduleFreeWrapper" else RecordingModule(configure)
        trainer = make_trainer(callbacks=callbacks)
        trainer.fit(module, loader())
        return module.net.weight.detach(), trainer.global_step

    weight, steps = run(0.1, [Quarter(epochs=1)])
    expected, _ = run(0.025, [])
    assert torch.allclose(weight, expected, rtol=0, atol=1e-7)
    assert steps == 4


def test_the_optimizer_inside_keeps_the_nominal_rate_in_its_state():
    inside = []

    class Saving(RecordingSGD):
        def _init_group(self, group, *args, **kwargs):
            inside.append((group["lr"], optimizer.state_dict()["base_optimizer"]["param_groups"][0]["lr"]))
            return super()._init_group(group, *args, **kwargs)

    optimizer = pytorch_optimizer.Lookahead(Saving(parameters(), lr=0.1))
    ScaledStep(optimizer, count=0, factor=rising, is_active=lambda: True)
    train(optimizer, steps=2)
    assert inside == [(pytest.approx(0.025), 0.1), (pytest.approx(0.05), 0.1)]


# Refused


class Copies(Wrapper):
    def __init__(self, inner):
        super().__init__(inner)
        self.param_groups = [dict(group) for group in inner.param_groups]


class CopiesWithConstructor(Optimizer):
    def __init__(self, inner):
        super().__init__(inner.param_groups[0]["params"], {"lr": 0.1})
        self.held = {"inner": inner}

    def step(self, closure=None):
        return self.held["inner"].step(closure)


class NewGroups(Wrapper):
    param_groups = property(lambda self: [dict(group) for group in self.inner.param_groups], lambda self, groups: None)


class NoSubclass:
    """What Lightning takes for an optimizer all the same."""

    def __init__(self, inner):
        self.inner = inner
        self.step, self.state_dict, self.load_state_dict = inner.step, inner.state_dict, inner.load_state_dict
        self.param_groups, self.defaults, self.state = inner.param_groups, inner.defaults, inner.state


REFUSED = {
    Copies: "SGD inside Copies has groups of its own, .* let the param_groups of Copies be those of SGD",
    CopiesWithConstructor: "SGD inside CopiesWithConstructor has groups of its own",
    NewGroups: "NewGroups makes new ones whenever param_groups is read",
    NoSubclass: r"need a torch\.optim\.Optimizer, but got NoSubclass",
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("position", [0, 1])
def test_one_that_no_rate_reaches_is_refused_and_nothing_is_left(make_trainer, kind, position):
    made = []

    def configure(module):
        made[:] = [SGD([module.net.weight], lr=0.1), SGD([module.net.bias], lr=0.1)]
        made[position] = kind(made[position])
        before[:] = [instance_state(one) for optimizer in made for one in everything(optimizer)]
        return made

    before = []
    with pytest.raises(MisconfigurationException, match=REFUSED[kind]):
        make_trainer(callbacks=[GradualWarmup(steps=2)]).fit(ManualModule(configure, steps=(1, 1)), loader())
    assert [instance_state(one) for optimizer in made for one in everything(optimizer)] == before


# SAM in two halves, under manual optimisation


class Halves(ManualModule):
    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        for half in (optimizer.first_step, optimizer.second_step):
            self.manual_backward(self.net(batch[0]).square().mean())
            half(zero_grad=True)


@pytest.mark.parametrize("length", [{"steps": 4}, {"epochs": 1}])
@pytest.mark.parametrize("name", ["SAM", "FriendlySAM"])
def test_the_two_halves_of_sam_count_as_one_step(make_trainer, name, length):
    kind = getattr(pytorch_optimizer, name)
    module = Halves(lambda module: kind(module.parameters(), RecordingSGD, lr=0.1))
    make_trainer(callbacks=[GradualWarmup(**length)], max_epochs=2).fit(module, loader())
    used = module.trainer.optimizers[0].base_optimizer.used
    assert [rates[0] for rates in used] == pytest.approx([0.025, 0.05, 0.075, *[0.1] * 5], abs=1e-12)


class OwnHalves(SGD):
    """Its second half does the arithmetic itself, outside any step."""

    def first_step(self, zero_grad):
        self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad):
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(self.param_groups[0]["lr"] * parameter.grad)
        self.zero_grad()


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ({"steps": 4}, r"GradualWarmup work.* no optimizer made a step there: \[0\].* total_steps="),
        (
            {"epochs": 1},
            r"GradualWarmup took .* 4 steps in the first epoch, .* made \[0\]; give steps= and total_steps=",
        ),
    ],
)
def test_arithmetic_outside_of_step_is_an_error_after_the_first_epoch(make_trainer, length, message):
    module = Halves(lambda module: OwnHalves(module.parameters(), lr=0.1))
    with pytest.raises(MisconfigurationException, match=message):
        make_trainer(callbacks=[GradualWarmup(**length)], max_epochs=2).fit(module, loader())
    assert module.trainer.current_epoch == 0
