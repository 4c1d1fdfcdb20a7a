import doctest
import math
from itertools import pairwise

import pytest
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
    factors = [function(step, **arguments) for step in range(len(expected))]
    assert factors == pytest.approx(expected, abs=1e-12)
    assert all(type(factor) is float for factor in factors)
    assert function(10**9, **arguments) == pytest.approx(expected[-1], abs=1e-12) or function is step_decay


@given(total=st.integers(1, 50), warmup=st.integers(0, 60), low=st.floats(0, 1), power=st.floats(0.2, 4))
@settings(max_examples=60, deadline=None)
def test_decays_never_rise_and_end_where_they_say(total, warmup, low, power):
    for curve in (
        [cosine_decay(step, total_steps=total, warmup_steps=warmup, min_factor=low) for step in range(120)],
        [
            polynomial_decay(step, total_steps=total, warmup_steps=warmup, min_factor=low, power=power)
            for step in range(120)
        ],
    ):
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
    curve = [
        gradual_warmup(step, warmup_steps=warmup, start_factor=start, multiplier=multiplier) for step in range(100)
    ]
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
        (step_decay, {"milestones": [3, 3]}, ValueError, r"increasing milestones, but got \[3, 3\]"),
        (step_decay, {"milestones": [-1]}, ValueError, "each milestone to be at least 0"),
        (step_decay, {"milestones": [0.5]}, TypeError, "each milestone to be an integer"),
        (step_decay, {"every_steps": 1, "gamma": 0}, ValueError, "gamma to be above 0"),
        (polynomial_decay, {"total_steps": 1, "power": 0}, ValueError, "power to be above 0"),
        (polynomial_decay, {"total_steps": 1, "min_factor": -0.1}, ValueError, "min_factor to be at least 0"),
    ],
)
def test_bad_arguments_are_refused(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(0, **arguments)


@pytest.mark.parametrize(("function", "arguments", "expected"), TABLES)
def test_a_step_is_a_whole_number_from_0(function, arguments, expected):
    with pytest.raises(ValueError, match="step to be at least 0, but got -1"):
        function(-1, **arguments)
    with pytest.raises(TypeError, match=r"step to be an integer, but got 0\.5"):
        function(0.5, **arguments)


def test_examples_in_the_docstrings():
    assert doctest.testmod(lr).failed == 0
