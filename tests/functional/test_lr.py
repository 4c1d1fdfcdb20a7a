import doctest
import math
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks.functional import lr
from lightning_tricks.functional.lr import (
    constant_warmup,
    cosine_decay,
    gradual_warmup,
    linear_scaling,
    polynomial_decay,
    step_decay,
)

HALF_SQRT2 = math.sqrt(2) / 2
S3 = math.sqrt(3) / 2

TABLES = [
    (linear_scaling, {"batch_size": 512}, [2, 2, 2]),
    (linear_scaling, {"batch_size": 96, "base_batch_size": 128}, [0.75, 0.75]),
    (linear_scaling, {"batch_size": 1024, "rule": "sqrt"}, [2, 2]),
    (constant_warmup, {"warmup_steps": 3}, [0.1, 0.1, 0.1, 1, 1, 1]),
    (constant_warmup, {"warmup_steps": 1, "factor": 0.25}, [0.25, 1, 1]),
    (constant_warmup, {"warmup_steps": 0}, [1, 1]),
    (gradual_warmup, {"warmup_steps": 5}, [0.2, 0.4, 0.6, 0.8, 1, 1, 1]),
    (gradual_warmup, {"warmup_steps": 1}, [1, 1]),
    (gradual_warmup, {"warmup_steps": 0}, [1, 1]),
    (gradual_warmup, {"warmup_steps": 4, "multiplier": 3}, [1, 1.5, 2, 2.5, 3, 3, 3]),
    (gradual_warmup, {"warmup_steps": 0, "multiplier": 3}, [3, 3]),
    (gradual_warmup, {"warmup_steps": 4, "start_factor": 0.2}, [0.2, 0.4, 0.6, 0.8, 1, 1]),
    (gradual_warmup, {"warmup_steps": 2, "start_factor": 0}, [0, 0.5, 1, 1]),
    (gradual_warmup, {"warmup_steps": 4, "start_factor": 0.5, "multiplier": 2.5}, [0.5, 1, 1.5, 2, 2.5, 2.5]),
    (
        cosine_decay,
        {"total_steps": 6},
        [1, 0.5 + 0.5 * S3, 0.75, 0.5, 0.25, 0.5 - 0.5 * S3, 0, 0, 0],
    ),
    (
        cosine_decay,
        {"total_steps": 6, "warmup_steps": 2, "min_factor": 0.2},
        [1, 1, 1, 0.2 + 0.4 * (1 + HALF_SQRT2), 0.6, 0.2 + 0.4 * (1 - HALF_SQRT2), 0.2, 0.2],
    ),
    (cosine_decay, {"total_steps": 2, "warmup_steps": 3}, [1, 1, 1, 0]),
    (cosine_decay, {"total_steps": 3, "warmup_steps": 3}, [1, 1, 1, 0]),
    (step_decay, {"every_steps": 2}, [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001]),
    (step_decay, {"every_steps": 1, "gamma": 0.5}, [1, 0.5, 0.25, 0.125]),
    (step_decay, {"milestones": [1, 4], "gamma": 0.5}, [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
    (step_decay, {"milestones": (0,), "gamma": 0.5}, [0.5, 0.5]),
    (step_decay, {"milestones": [], "gamma": 0.5}, [1, 1]),
    (polynomial_decay, {"total_steps": 4}, [1, 0.75, 0.5, 0.25, 0, 0, 0]),
    (polynomial_decay, {"total_steps": 4, "power": 2}, [1, 0.5625, 0.25, 0.0625, 0, 0]),
    (polynomial_decay, {"total_steps": 6, "warmup_steps": 2, "power": 0.5, "min_factor": 0.1},
     [1, 1, 1, 0.1 + 0.9 * S3, 0.1 + 0.9 * HALF_SQRT2, 0.1 + 0.45, 0.1, 0.1]),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "expected"), TABLES)
def test_table_of_exact_values_that_runs_past_the_end(function, arguments, expected):
    schedule = function(**arguments)
    factors = [schedule(step) for step in range(len(expected))]
    assert factors == pytest.approx(expected, abs=1e-12)
    assert all(type(factor) is float for factor in factors)
    assert schedule(10**9) == pytest.approx(expected[-1], abs=1e-12) or function is step_decay


@given(total=st.integers(1, 50), warmup=st.integers(0, 60), low=st.floats(0, 1), power=st.floats(0.2, 4))
@settings(max_examples=60, deadline=None)
def test_decays_never_rise_and_end_where_they_say(total, warmup, low, power):
    for schedule in (
        cosine_decay(total_steps=total, warmup_steps=warmup, min_factor=low),
        polynomial_decay(total_steps=total, warmup_steps=warmup, min_factor=low, power=power),
    ):
        curve = [schedule(step) for step in range(120)]
        assert all(later <= earlier for earlier, later in pairwise(curve))
        assert curve[: warmup + 1][:-1] == [1.0] * warmup
        assert curve[max(total, warmup)] == pytest.approx(low, abs=1e-12)


@given(
    warmup=st.integers(0, 60),
    start=st.none() | st.floats(0, 1),
    multiplier=st.floats(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_gradual_warmup_rises_by_equal_steps_and_does_not_jump_at_its_end(warmup, start, multiplier):
    schedule = gradual_warmup(warmup_steps=warmup, start_factor=start, multiplier=multiplier)
    curve = [schedule(step) for step in range(100)]
    rises = [later - earlier for earlier, later in pairwise(curve)]
    assert curve[warmup] == multiplier
    if warmup > 1:
        assert rises[: warmup - 1] == pytest.approx([rises[0]] * (warmup - 1), abs=1e-12)
        assert all(0 <= rise <= rises[0] + 1e-12 for rise in rises)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (linear_scaling, {"batch_size": 0}, ValueError, "linear_scaling needs batch_size to be at least 1, but got 0"),
        (linear_scaling, {"batch_size": 1.5}, TypeError, "needs batch_size to be an integer, but got 1.5"),
        (linear_scaling, {"batch_size": 8, "base_batch_size": 0}, ValueError, "base_batch_size to be at least 1"),
        (linear_scaling, {"batch_size": 8, "rule": "cubic"}, ValueError, "rule to be one of .*'cubic'"),
        (constant_warmup, {"warmup_steps": -1}, ValueError, "warmup_steps to be at least 0, but got -1"),
        (constant_warmup, {"warmup_steps": 1, "factor": 0}, ValueError, "factor to be above 0, but got 0"),
        (gradual_warmup, {"warmup_steps": -1}, ValueError, "warmup_steps to be at least 0"),
        (gradual_warmup, {"warmup_steps": 1, "multiplier": 0.5}, ValueError, "multiplier to be at least 1"),
        (gradual_warmup, {"warmup_steps": 1, "start_factor": 1.5}, ValueError, "start_factor .* but got 1.5"),
        (gradual_warmup, {"warmup_steps": 1, "start_factor": "0"}, TypeError, "start_factor to be a number"),
        (cosine_decay, {"total_steps": 0}, ValueError, "total_steps to be at least 1"),
        (cosine_decay, {"total_steps": 1, "warmup_steps": -1}, ValueError, "warmup_steps to be at least 0"),
        (cosine_decay, {"total_steps": 1, "min_factor": 1.5}, ValueError, "min_factor .* but got 1.5"),
        (step_decay, {}, ValueError, "exactly one of every_steps and milestones, but got every_steps=None"),
        (step_decay, {"every_steps": 1, "milestones": [1]}, ValueError, "exactly one of every_steps and milestones"),
        (step_decay, {"every_steps": 0}, ValueError, "every_steps to be at least 1"),
        (step_decay, {"milestones": [3, 3]}, ValueError, r"milestones to increase, but got \[3, 3\]"),
        (step_decay, {"milestones": [-1]}, ValueError, "each milestone to be at least 0"),
        (step_decay, {"milestones": [0.5]}, TypeError, "each milestone to be an integer"),
        (step_decay, {"every_steps": 1, "gamma": 0}, ValueError, "gamma to be above 0"),
        (polynomial_decay, {"total_steps": 1, "power": 0}, ValueError, "power to be above 0"),
        (polynomial_decay, {"total_steps": 1, "min_factor": -0.1}, ValueError, "min_factor to be at least 0"),
    ],
)
def test_bad_arguments_are_refused(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize(("function", "arguments", "expected"), TABLES)
def test_a_schedule_is_pickled_with_what_holds_it(function, arguments, expected):
    schedule = pickle.loads(pickle.dumps(function(**arguments)))
    assert [schedule(step) for step in range(len(expected))] == pytest.approx(expected, abs=1e-12)


def torch_factors(make, steps, **arguments):
    """The rates that one of torch's schedulers gives to an optimizer whose own rate is 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer, **arguments)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize(
    ("schedule", "scheduler", "arguments", "steps"),
    [
        (constant_warmup(warmup_steps=3, factor=0.25), "ConstantLR", {"factor": 0.25, "total_iters": 3}, 8),
        (gradual_warmup(warmup_steps=4, start_factor=0.2), "LinearLR", {"start_factor": 0.2, "total_iters": 4}, 9),
        (gradual_warmup(warmup_steps=5), "LinearLR", {"start_factor": 0.2, "total_iters": 4}, 9),
        # up to its end: torch's cosine rises again after it
        (cosine_decay(total_steps=7, min_factor=0.1), "CosineAnnealingLR", {"T_max": 7, "eta_min": 0.1}, 8),
        (polynomial_decay(total_steps=6, power=1.7), "PolynomialLR", {"total_iters": 6, "power": 1.7}, 10),
        (step_decay(every_steps=3, gamma=0.5), "StepLR", {"step_size": 3, "gamma": 0.5}, 11),
        (step_decay(milestones=[2, 5], gamma=0.3), "MultiStepLR", {"milestones": [2, 5], "gamma": 0.3}, 9),
    ],
)
def test_schedules_are_those_of_torch(schedule, scheduler, arguments, steps):
    expected = torch_factors(getattr(torch.optim.lr_scheduler, scheduler), steps, **arguments)
    assert [schedule(step) for step in range(steps)] == pytest.approx(expected, abs=1e-9)


def test_examples_in_the_docstrings():
    assert doctest.testmod(lr).failed == 0
