import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import CosineDecay, GradualWarmup, PolynomialDecay
from tests.lr_recording import RecordingModule, loader


def fit(make_trainer, callbacks):
    module = RecordingModule()
    make_trainer(callbacks=callbacks, max_epochs=2).fit(module, loader())
    return module.used


@pytest.mark.parametrize(("power", "min_factor"), [(1.0, 0.0), (2.0, 0.1), (0.5, 0.25)])
def test_rates_that_the_optimizer_uses(make_trainer, power, min_factor):
    trick = PolynomialDecay(power=power, min_factor=min_factor)
    expected = [min_factor + (1 - min_factor) * (1 - step / 8) ** power for step in range(8)]
    assert fit(make_trainer, [trick]) == pytest.approx([0.1 * factor for factor in expected], abs=1e-12)
    assert [trick.factor(step) for step in (8, 9, 10**6)] == pytest.approx([min_factor] * 3, abs=1e-12)


def test_it_begins_where_the_warmup_ends(make_trainer):
    used = fit(make_trainer, [GradualWarmup(steps=4), PolynomialDecay()])
    assert used == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.075, 0.05, 0.025], abs=1e-12)


def test_total_steps_hold_the_factor_at_the_end(make_trainer):
    used = fit(make_trainer, [PolynomialDecay(total_steps=4, min_factor=0.2)])
    assert used == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02, 0.02, 0.02, 0.02], abs=1e-12)


def test_factor_with_and_without_a_horizon():
    assert PolynomialDecay(total_steps=2).factor(1) == 0.5
    with pytest.raises(MisconfigurationException, match="PolynomialDecay needs the number of the run's steps"):
        PolynomialDecay().factor(0)


def test_it_is_refused_beside_another_decay(make_trainer):
    with pytest.raises(MisconfigurationException, match="but got CosineDecay and PolynomialDecay: leave only one"):
        fit(make_trainer, [CosineDecay(), PolynomialDecay()])
