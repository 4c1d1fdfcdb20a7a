import math

import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import CosineDecay, GradualWarmup
from tests.lr_recording import RecordingModule, loader


def fit(make_trainer, callbacks, *, max_epochs=2, batches=4):
    module = RecordingModule()
    make_trainer(callbacks=callbacks, max_epochs=max_epochs).fit(module, loader(batches))
    return module.used


@pytest.mark.parametrize("min_factor", [0.0, 0.25])
def test_rates_that_the_optimizer_uses(make_trainer, min_factor):
    trick = CosineDecay(min_factor=min_factor)
    used = fit(make_trainer, [trick])
    expected = [min_factor + (1 - min_factor) * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert used == pytest.approx([0.1 * factor for factor in expected], abs=1e-12)
    assert [trick.factor(step) for step in (8, 9, 10**6)] == pytest.approx([min_factor] * 3, abs=1e-12)


def test_total_steps_hold_the_factor_at_the_end(make_trainer):
    used = fit(make_trainer, [CosineDecay(total_steps=4, min_factor=0.5)])
    expected = [1, 0.75 + 0.125 * math.sqrt(2), 0.75, 0.75 - 0.125 * math.sqrt(2), *[0.5] * 4]
    assert used == pytest.approx([0.1 * factor for factor in expected], abs=1e-12)


def test_it_begins_where_the_longest_warmup_ends(make_trainer):
    used = fit(make_trainer, [CosineDecay(), GradualWarmup(steps=2), GradualWarmup(steps=4)])
    ramps = [1 / 8, 2 / 4, 3 / 4, 1]
    falling = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert used == pytest.approx([0.1 * factor for factor in ramps + falling], abs=1e-12)


def test_factor_needs_no_trainer_where_the_horizon_is_given():
    assert CosineDecay(total_steps=2).factor(1) == pytest.approx(0.5)


def test_factor_before_the_training_says_what_it_needs():
    with pytest.raises(MisconfigurationException, match="CosineDecay needs the number of the run's steps"):
        CosineDecay().factor(0)


def test_two_decays_are_refused(make_trainer):
    with pytest.raises(MisconfigurationException, match="one decay of the learning rate, but got CosineDecay and Cos"):
        fit(make_trainer, [CosineDecay(), CosineDecay(min_factor=0.1)])


def test_a_run_that_ends_in_the_warmup_never_decays(make_trainer):
    with pytest.warns(UserWarning, match="GradualWarmup lasts 10 optimizer steps, but the run only 8"):
        used = fit(make_trainer, [CosineDecay(), GradualWarmup(steps=10)])
    assert used == pytest.approx([0.01 * (step + 1) for step in range(8)], abs=1e-12)
