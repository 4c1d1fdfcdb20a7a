import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import CosineDecay, GradualWarmup, StepDecay
from tests.lr_recording import RecordingModule, loader


def fit(make_trainer, callbacks, *, max_epochs=3, **kwargs):
    module = RecordingModule()
    make_trainer(callbacks=callbacks, max_epochs=max_epochs, **kwargs).fit(module, loader())
    return module.used


@pytest.mark.parametrize(
    ("arguments", "drops"),
    [
        ({"every_epochs": 1}, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]),
        ({"every_epochs": 1.25}, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]),
        ({"every_steps": 3}, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]),
        ({"milestones": [1, 2]}, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]),
        ({"milestones": [0.5, 2.75]}, [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]),
        ({"milestones": [30, 60, 80]}, [0] * 12),
    ],
)
@pytest.mark.parametrize("gamma", [0.1, 0.5])
def test_rates_that_the_optimizer_uses(make_trainer, arguments, drops, gamma):
    trick = StepDecay(**arguments, gamma=gamma)
    assert fit(make_trainer, [trick]) == pytest.approx([0.1 * gamma**n for n in drops], abs=1e-12)


def test_past_the_end():
    assert StepDecay(every_steps=3, gamma=0.5).factor(30) == pytest.approx(0.5**10)


def test_a_warmup_does_not_move_the_drops(make_trainer):
    used = fit(make_trainer, [StepDecay(every_epochs=1), GradualWarmup(steps=6)])
    ramp = [min(step + 1, 6) / 6 for step in range(12)]
    drops = [1] * 4 + [0.1] * 4 + [0.01] * 4
    assert used == pytest.approx([0.1 * factor * drop for factor, drop in zip(ramp, drops, strict=True)], abs=1e-12)


def test_accumulation_shortens_an_epoch(make_trainer):
    used = fit(make_trainer, [StepDecay(every_epochs=1, gamma=0.5)], accumulate_grad_batches=2)
    assert used == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025], abs=1e-12)


@pytest.mark.parametrize("arguments", [{"every_epochs": 1}, {"milestones": [1]}])
def test_factor_before_the_training_says_that_epochs_are_not_steps(arguments):
    with pytest.raises(MisconfigurationException, match="StepDecay in epochs needs the run's steps per epoch"):
        StepDecay(**arguments).factor(0)


def test_the_default_is_every_thirty_epochs():
    assert StepDecay().every_epochs == 30
    assert StepDecay(every_steps=3).every_epochs is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"every_epochs": 1, "every_steps": 2}, ValueError, "needs one of .* every_steps=2"),
        ({"every_epochs": 1, "milestones": [2]}, ValueError, r"needs one of .* milestones=\[2\]"),
        ({"milestones": [60, 30]}, ValueError, r"StepDecay needs milestones to increase, but got \[60.0, 30.0\]"),
        ({"milestones": [-1]}, ValueError, "StepDecay needs each milestone to be at least 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        StepDecay(**arguments)


@pytest.mark.parametrize("arguments", [{"every_epochs": 0.1}, {"milestones": [1, 1.05]}])
def test_drops_within_one_step_are_refused(make_trainer, arguments):
    with pytest.raises(MisconfigurationException, match="at least one optimizer step between two drops, but with 4"):
        fit(make_trainer, [StepDecay(**arguments)])


def test_it_is_refused_beside_another_decay(make_trainer):
    with pytest.raises(MisconfigurationException, match="but got StepDecay and CosineDecay: leave only one"):
        fit(make_trainer, [StepDecay(every_epochs=1), CosineDecay()])
