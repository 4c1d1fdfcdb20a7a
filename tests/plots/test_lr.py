import lightning.pytorch as pl
import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import (
    ConstantWarmup,
    CosineDecay,
    GradualWarmup,
    LinearScaling,
    PolynomialDecay,
    StepDecay,
    plot_lr,
)
from tests.lr_recording import RecordingModule, loader


def curve(line):
    return list(line.get_xdata()), list(line.get_ydata())


@pytest.mark.parametrize(
    "make",
    [
        lambda: [GradualWarmup(epochs=1), CosineDecay()],
        lambda: [StepDecay(milestones=[1, 2]), GradualWarmup(steps=3)],
        lambda: [PolynomialDecay(), ConstantWarmup(epochs=0.5), LinearScaling(base_batch_size=1, batch_size=2)],
    ],
)
def test_the_curve_is_what_a_run_uses(make_trainer, make):
    figure = plot_lr(make(), lr=0.1, steps_per_epoch=4, epochs=3)
    module = RecordingModule()
    make_trainer(callbacks=make(), max_epochs=3).fit(module, loader(4, 2))
    epochs, rates = curve(figure.axes[0].lines[0])
    assert rates == pytest.approx([*module.used, module.used[-1]], abs=1e-12)
    assert epochs == pytest.approx([step / 4 for step in range(13)])


def test_each_factor_is_drawn_and_named():
    tricks = [GradualWarmup(steps=2), StepDecay(every_epochs=1, gamma=0.5)]
    figure = plot_lr([tricks[0], pl.Callback(), tricks[1]], lr=1.0, steps_per_epoch=2, epochs=2)
    rate, factor = figure.axes
    assert [text.get_text() for text in factor.get_legend().get_texts()] == ["GradualWarmup", "StepDecay"]
    assert [list(line.get_ydata()) for line in factor.lines] == [[0.5, 1, 1, 1, 1], [1, 1, 0.5, 0.5, 0.5]]
    assert (rate.get_ylabel(), factor.get_ylabel(), factor.get_xlabel()) == ("learning rate", "factor", "epoch")


def test_without_tricks_it_is_the_nominal_rate():
    figure = plot_lr([], lr=0.3, steps_per_epoch=2, epochs=1)
    assert curve(figure.axes[0].lines[0]) == ([0, 0.5, 1], [0.3, 0.3, 0.3])


def test_the_callbacks_are_not_changed():
    tricks = [GradualWarmup(epochs=1), CosineDecay()]
    before = [dict(vars(trick)) for trick in tricks]
    plot_lr(tricks, lr=0.1, steps_per_epoch=4, epochs=3)
    assert [vars(trick) for trick in tricks] == before


def test_after_a_run_it_is_drawn_anew(make_trainer):
    tricks = [ConstantWarmup(steps=4, monitor="constant", threshold=0.5), CosineDecay()]
    fresh = curve(plot_lr(tricks, lr=0.1, steps_per_epoch=4, epochs=3).axes[0].lines[0])
    make_trainer(callbacks=tricks, max_epochs=2).fit(RecordingModule(), loader())
    assert curve(plot_lr(tricks, lr=0.1, steps_per_epoch=4, epochs=3).axes[0].lines[0]) == fresh


def test_it_can_be_saved(tmp_path):
    figure = plot_lr([GradualWarmup(epochs=1), CosineDecay()], lr=0.1, steps_per_epoch=4, epochs=3)
    figure.savefig(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 1000


def test_tricks_that_do_not_go_together_are_refused():
    with pytest.raises(MisconfigurationException, match="one decay of the learning rate"):
        plot_lr([CosineDecay(), PolynomialDecay()], lr=0.1, steps_per_epoch=4, epochs=3)
    with pytest.raises(MisconfigurationException, match="LinearScaling needs the batch size"):
        plot_lr([LinearScaling()], lr=0.1, steps_per_epoch=4, epochs=3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"callbacks": CosineDecay()}, TypeError, "plot_lr needs callbacks to be a list of callbacks, but got"),
        ({"callbacks": [CosineDecay]}, TypeError, "plot_lr needs callbacks to be a list"),
        ({"lr": 0}, ValueError, "plot_lr needs lr to be above 0, but got 0"),
        ({"lr": "0.1"}, TypeError, "plot_lr needs lr to be a number"),
        ({"steps_per_epoch": 0}, ValueError, "plot_lr needs steps_per_epoch to be at least 1"),
        ({"epochs": 1.5}, TypeError, "plot_lr needs epochs to be an integer"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        plot_lr(**({"callbacks": [], "lr": 0.1, "steps_per_epoch": 4, "epochs": 3} | arguments))
