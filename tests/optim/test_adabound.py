import copy
import math
import pickle

import adabound
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounter

from lightning_tricks.optim.adabound import AdaBound


def small_net(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def train(net, optimizer, steps, lr_at=lambda step: None, seed=1, start=0):
    """Trains on data that depend on the step alone; ``lr_at`` gives a factor of each group's first lr, or None."""
    first = [group.get("base_lr", group["lr"]) for group in optimizer.param_groups]
    dtype = next(net.parameters()).dtype
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(1000 * seed + step)
        x = torch.randn(7, 6, generator=generator, dtype=dtype)
        y = torch.randint(3, (7,), generator=generator)
        if (factor := lr_at(step)) is not None:
            for group, lr in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = factor * lr
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()


def distance(a, b):
    return max((p - q).abs().max().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.filterwarnings(r"ignore:This overload of \w+ is deprecated")  # the authors' code is of 2019
@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("amsbound", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_follows_the_authors_package(foreach, amsbound, weight_decay):
    def groups(net):
        return [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 0.004, "final_lr": 0.05}]

    ours, theirs = small_net(), small_net()
    settings = {"lr": 0.002, "gamma": 0.01, "weight_decay": weight_decay, "amsbound": amsbound}
    lr_at = {150: 0.3, 250: 1.5, 350: 0.0, 360: 0.1}.get
    train(ours, AdaBound(groups(ours), foreach=foreach, **settings), 500, lr_at)
    train(theirs, adabound.AdaBound(groups(theirs), **settings), 500, lr_at)
    assert distance(ours, theirs) <= 2e-6
    assert distance(ours, small_net()) > 0.1


def reference(grads, *, lrs, betas, final_lr, gamma, eps, weight_decay, amsbound, maximize):
    """The formula for one number, in Python's floats."""
    p, m, v, v_max = 0.5, 0.0, 0.0, 0.0
    for t, (grad, lr) in enumerate(zip(grads, lrs, strict=True), start=1):
        g = (-grad if maximize else grad) + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        v_max = max(v_max, v)
        rate = lr * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
        rate /= math.sqrt(v_max if amsbound else v) + eps
        final = final_lr * lr / lrs[0]
        p -= min(max(rate, final * (1 - 1 / (gamma * t + 1))), final * (1 + 1 / (gamma * t))) * m
    return p


SETTINGS = {
    "betas": (0.9, 0.999),
    "final_lr": 0.1,
    "gamma": 0.5,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsbound": False,
    "maximize": False,
}
CHANGES = [
    {},
    {"betas": (0.5, 0.9)},
    {"final_lr": 3.0},
    {"gamma": 0.01},
    {"eps": 0.7, "gamma": 0.01},
    {"weight_decay": 0.3},
    {"amsbound": True, "betas": (0.5, 0.3), "gamma": 0.01},
    {"maximize": True, "weight_decay": 0.3},
]


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_follows_the_formula(change, foreach):
    settings = SETTINGS | change
    grads, lrs = [1.5, -0.2, 0.03, 0.4, -2.0, 0.001], [0.02, 0.02, 0.01, 0.0, 0.05, 0.05]
    p = nn.Parameter(torch.full((3, 2), 0.5, dtype=torch.float64))
    optimizer = AdaBound([p], lr=lrs[0], foreach=foreach, **settings)
    for grad, lr in zip(grads, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = torch.full_like(p, grad)
        optimizer.step()
    torch.testing.assert_close(
        p.detach(), torch.full_like(p, reference(grads, lrs=lrs, **settings)), rtol=1e-12, atol=0
    )


def test_every_change_of_a_setting_matters():
    grads, lrs = [1.5, -0.2, 0.03, 0.4, -2.0, 0.001], [0.02, 0.02, 0.01, 0.0, 0.05, 0.05]
    results = {reference(grads, lrs=lrs, **(SETTINGS | change)) for change in CHANGES}
    assert len(results) == len(CHANGES)


def test_defaults_are_those_of_the_authors():
    ours, theirs = AdaBound([torch.ones(2)]), adabound.AdaBound([torch.ones(2)])
    for name, value in theirs.defaults.items():
        assert ours.defaults[name] == value, name


def test_gamma_near_one_and_many_steps_give_sgd():
    p = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = AdaBound([p], lr=1e-3, final_lr=0.3, gamma=0.999)
    average = torch.zeros_like(p)
    generator = torch.Generator().manual_seed(0)
    for step in range(3000):
        p.grad = torch.randn(4, generator=generator, dtype=torch.float64)
        average = 0.9 * average + 0.1 * p.grad
        before = p.detach().clone()
        optimizer.step()
        if step >= 2000:
            torch.testing.assert_close(before - p.detach(), 0.3 * average, rtol=6e-4, atol=0)


def test_gamma_near_zero_gives_adam():
    ours, theirs = small_net(dtype=torch.float64), small_net(dtype=torch.float64)
    train(ours, AdaBound(ours.parameters(), lr=0.01, gamma=1e-12, eps=0.0), 100)
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01, eps=0.0), 100)
    assert distance(ours, theirs) < 1e-9


def test_foreach_and_loop_agree_over_mixed_parameters():
    def parameters():
        generator = torch.Generator().manual_seed(0)
        shapes = [(3, 2), (), (5,), (2, 3, 4)]
        dtypes = [torch.float32, torch.float64, torch.bfloat16, torch.float32]
        made = [nn.Parameter(torch.randn(s, generator=generator).to(d)) for s, d in zip(shapes, dtypes, strict=True)]
        for p in made[1:]:  # the first has no gradient
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        return made

    lists = {foreach: parameters() for foreach in (True, False)}
    settings = {"lr": 0.01, "weight_decay": 0.1, "amsbound": True, "maximize": True}
    for foreach, params in lists.items():
        optimizer = AdaBound(params, foreach=foreach, **settings)
        for _ in range(5):
            optimizer.step()
        assert params[0] not in optimizer.state
        assert torch.equal(params[0], parameters()[0])
    for looped, together in zip(lists[False], lists[True], strict=True):
        assert together.dtype == looped.dtype
        torch.testing.assert_close(together, looped)


def test_foreach_runs_off_the_cpu():
    p = nn.Parameter(torch.ones(3, 2, device="meta"))
    p.grad = torch.ones_like(p)
    optimizer = AdaBound([p], foreach=True, amsbound=True, weight_decay=0.1, maximize=True)
    optimizer.step()
    assert optimizer.state[p]["exp_avg"].device.type == "meta"
    assert optimizer.state[p]["step"].item() == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu():
    def trained(device, foreach):
        net = small_net()
        optimizer = AdaBound(net.to(device).parameters(), lr=0.01, foreach=foreach, amsbound=True)
        for step in range(20):
            generator = torch.Generator().manual_seed(step)
            for p in net.parameters():
                p.grad = torch.randn(p.shape, generator=generator).to(device)
            optimizer.step()
        return net.cpu()

    expected = trained("cpu", False)
    for foreach in (True, False, None):
        assert distance(trained("cuda", foreach), expected) < 1e-6


@pytest.mark.parametrize(("foreach", "expected"), [(True, True), (False, False), (None, False)])
def test_foreach_chooses_the_operations(foreach, expected, monkeypatch):
    calls = []
    original = torch._foreach_lerp_
    monkeypatch.setattr(torch, "_foreach_lerp_", lambda *args: calls.append(args) or original(*args))
    p = nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    AdaBound([p], foreach=foreach).step()
    assert bool(calls) == expected


def test_state_keeps_the_memory_format():
    p = nn.Parameter(torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last))
    p.grad = torch.ones_like(p)
    optimizer = AdaBound([p], amsbound=True)
    optimizer.step()
    for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
        assert optimizer.state[p][key].is_contiguous(memory_format=torch.channels_last)


def test_a_group_added_later_trains_from_its_own_lr():
    net, other = small_net(), small_net()
    optimizer = AdaBound(net[0].parameters(), lr=0.01)
    train(net, optimizer, 5, lambda step: 0.5)
    optimizer.add_param_group({"params": net[2].parameters(), "lr": 0.02})
    assert [group["base_lr"] for group in optimizer.param_groups] == [0.01, 0.02]
    before = copy.deepcopy(net[2].state_dict())
    train(net, optimizer, 1, start=5)
    assert not torch.equal(before["weight"], net[2].weight)
    # From here on it is what an optimizer of its own would have done.
    alone = AdaBound(other[2].parameters(), lr=0.02)
    other[2].load_state_dict(before)
    for mine, its in zip(other[2].parameters(), net[2].parameters(), strict=True):
        mine.grad = its.grad.clone()
    alone.step()
    assert torch.equal(other[2].weight, net[2].weight)


@pytest.mark.parametrize("foreach", [True, False])
def test_a_resumed_run_continues_bit_identically(foreach, tmp_path):
    lr_at = {5: 0.5, 25: 0.25}.get
    settings = {"lr": 0.01, "amsbound": True, "weight_decay": 0.1, "foreach": foreach}
    straight = small_net()
    train(straight, AdaBound(straight.parameters(), **settings), 40, lr_at)

    net = small_net()
    optimizer = AdaBound(net.parameters(), **settings)
    train(net, optimizer, 20, lr_at)
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = small_net(seed=9)
    again = AdaBound(resumed.parameters(), lr=0.7)  # all of this comes from the state
    resumed.load_state_dict(saved["net"])
    again.load_state_dict(saved["optimizer"])
    train(resumed, again, 20, lr_at, start=20)
    assert distance(resumed, straight) == 0


def test_copies_and_pickles_continue_alike():
    net = small_net()
    optimizer = AdaBound(net.parameters(), lr=0.01)
    train(net, optimizer, 3)
    copied, copied_optimizer = copy.deepcopy((net, optimizer))
    pickled, pickled_optimizer = pickle.loads(pickle.dumps((net, optimizer)))
    for one, its in ((net, optimizer), (copied, copied_optimizer), (pickled, pickled_optimizer)):
        train(one, its, 3, start=3)
    assert distance(copied, net) == distance(pickled, net) == 0


def test_a_scheduler_moves_the_bounds_along():
    p = nn.Parameter(torch.zeros(2))
    optimizer = AdaBound([p], lr=0.01, final_lr=0.3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.1)  # sets a tenth of the lr at once
    (group,) = optimizer.param_groups
    assert (group["lr"], group["base_lr"]) == (pytest.approx(0.001), 0.01)
    p.grad = torch.ones(2)
    optimizer.step()
    optimizer.state[p]["step"].fill_(1e9)  # both bounds are at final_lr · 0.1
    before = p.detach().clone()
    optimizer.step()
    torch.testing.assert_close(before - p.detach(), 0.03 * optimizer.state[p]["exp_avg"])


@pytest.mark.parametrize("foreach", [True, False])
def test_a_tensor_lr_is_the_number_that_it_holds(foreach):
    nets = [small_net(), small_net()]
    lr = torch.tensor([0.01])
    train(nets[0], AdaBound(nets[0].parameters(), lr=lr, foreach=foreach), 3)
    train(nets[1], AdaBound(nets[1].parameters(), lr=lr.item(), foreach=foreach), 3)
    assert distance(*nets) == 0


def test_a_compiled_step_with_a_tensor_lr_is_compiled_once():
    def prepared(lr):
        net = small_net()
        optimizer = AdaBound(net.parameters(), lr=lr, weight_decay=0.01, amsbound=True)
        train(net, optimizer, 1)  # the first step makes the state
        return net, optimizer

    (compiled_net, compiled), (net, eager) = prepared(torch.tensor(0.01)), prepared(0.01)
    counter = CompileCounter()
    step = torch.compile(compiled.step, backend=counter)
    for factor in (1.0, 0.5, 0.25, 0.1):
        compiled.param_groups[0]["lr"].fill_(0.01 * factor)
        eager.param_groups[0]["lr"] = 0.01 * factor
        for p, q in zip(compiled_net.parameters(), net.parameters(), strict=True):
            p.grad = q.grad.clone()
        step()
        eager.step()
    assert counter.frame_count == 1
    assert distance(compiled_net, net) < 1e-6
    torch._dynamo.reset()


def test_closure_runs_with_gradients_and_its_value_is_returned():
    p = nn.Parameter(torch.ones(3))
    optimizer = AdaBound([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3
    assert (p < 1).all()
    assert optimizer.step() is None


def test_named_parameters_are_taken():
    net = small_net()
    optimizer = AdaBound(net.named_parameters(), lr=0.01)
    train(net, optimizer, 1)
    assert optimizer.param_groups[0]["param_names"][0] == "0.weight"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"lr": 0.0}, "lr to be above 0, but got 0.0"),
        ({"lr": -1.0}, "lr to be above 0, but got -1.0"),
        ({"lr": torch.tensor(-1.0)}, "lr to be above 0, but got -1.0"),
        ({"lr": torch.ones(2)}, r"a tensor lr to have one element, but got shape \(2,\)"),
        ({"betas": (1.0, 0.9)}, r"betas\[0\] to be at least 0 and below 1, but got 1.0"),
        ({"betas": (0.9, -0.1)}, r"betas\[1\] to be at least 0 and below 1, but got -0.1"),
        ({"final_lr": 0.0}, "final_lr to be above 0, but got 0.0"),
        ({"gamma": 0.0}, "gamma to be above 0 and below 1, but got 0.0"),
        ({"gamma": 1.0}, "gamma to be above 0 and below 1, but got 1.0"),
        ({"eps": -1e-8}, "eps to be at least 0, but got -1e-08"),
        ({"weight_decay": -0.1}, "weight_decay to be at least 0, but got -0.1"),
        ({"eps": math.nan}, "eps to be at least 0, but got nan"),
    ],
)
def test_values_out_of_range_are_refused(argument, message):
    with pytest.raises(ValueError, match=f"AdaBound needs {message}"):
        AdaBound([torch.ones(2)], **argument)
    optimizer = AdaBound([torch.ones(2)])
    with pytest.raises(ValueError, match=f"AdaBound needs {message}"):
        optimizer.add_param_group({"params": torch.ones(3), **argument})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"lr": "0.1"}, "lr to be a number, but got '0.1'"),
        ({"betas": 0.9}, "betas to be a pair of numbers, but got 0.9"),
        ({"betas": (0.9, 0.99, 0.999)}, "betas to be a pair of numbers, but got"),
        ({"final_lr": None}, "final_lr to be a number, but got None"),
        ({"gamma": "fast"}, "gamma to be a number, but got 'fast'"),
        ({"amsbound": 1}, "amsbound to be True or False, but got 1"),
        ({"maximize": "yes"}, "maximize to be True or False, but got 'yes'"),
        ({"foreach": 0}, "foreach to be True or False, but got 0"),
    ],
)
def test_values_of_another_type_are_refused(argument, message):
    with pytest.raises(TypeError, match=f"AdaBound needs {message}"):
        AdaBound([torch.ones(2)], **argument)


def test_complex_parameters_are_refused():
    with pytest.raises(TypeError, match=r"AdaBound needs real parameters, but got a complex one of shape \(2, 3\)"):
        AdaBound([torch.ones(2), torch.ones(2, 3, dtype=torch.complex64)])


@pytest.mark.parametrize("foreach", [True, False])
def test_sparse_gradients_are_refused_before_anything_moves(foreach):
    dense, table = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(4, 2))
    dense.grad = torch.ones(2)
    table.grad = torch.ones(4, 2).to_sparse()
    with pytest.raises(RuntimeError, match="AdaBound does not support sparse gradients"):
        AdaBound([dense, table], foreach=foreach).step()
    assert torch.equal(dense, torch.ones(2))
