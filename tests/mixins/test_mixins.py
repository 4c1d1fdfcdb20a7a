"""The mixins compute the numbers of the callbacks, alone, together and in either order."""

import copy

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks import Distillation, DistillationMixin, LabelSmoothingMixin, Mixup, SoftTarget, SoftTargetError
from tests.plain import image_loader
from tests.soft_target.targets import make, make_logits
from tests.teachers import CLASSES, Net, naive_loss

X = torch.randn(7, 3, 6, 4, generator=torch.Generator().manual_seed(0))


class Smoothing(LabelSmoothingMixin, pl.LightningModule):
    pass


class Distilling(DistillationMixin, pl.LightningModule):
    pass


class Both(DistillationMixin, LabelSmoothingMixin, pl.LightningModule):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, CLASSES))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return self.compute_loss(self.net(x), y, inputs=x)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class BothReversed(LabelSmoothingMixin, DistillationMixin, pl.LightningModule):
    pass


def targets():
    _, _, soft = make()
    return {"hard": soft.hard, "soft": soft, "dense": soft.probabilities(CLASSES)}


@pytest.mark.parametrize("kind", ["hard", "soft", "dense"])
def test_label_smoothing(kind):
    logits, target = make_logits(7, CLASSES), targets()[kind]
    expected = F.cross_entropy(logits, target, label_smoothing=0.2)
    torch.testing.assert_close(Smoothing(label_smoothing=0.2).compute_loss(logits, target), expected)
    q = target.probabilities(CLASSES) if kind == "soft" else target
    q = F.one_hot(target, CLASSES).float() if kind == "hard" else q
    expected = F.cross_entropy(logits, 0.8 * q + 0.2 / (CLASSES - 1) * (1 - q))
    loss = Smoothing(label_smoothing=0.2, spread="others").compute_loss(logits, target)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("kind", ["hard", "soft", "dense"])
@pytest.mark.parametrize("kl", [False, True])
def test_distillation(kind, kl):
    teacher, logits, target = Net(), make_logits(7, CLASSES), targets()[kind]
    module = Distilling(teacher=teacher, temperature=3.0, weight=0.5, kl=kl)
    r = teacher(X)
    expected = F.cross_entropy(logits, target) + naive_loss(logits, r, torch.zeros(7, dtype=torch.long), 3.0, 0.5)
    expected = expected - F.cross_entropy(logits, torch.zeros(7, dtype=torch.long))
    if kl:
        expected = expected + 0.5 * 9 * ((r / 3).softmax(1) * (r / 3).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(module.compute_loss(logits, target, inputs=X), expected)


@pytest.mark.parametrize("kind", ["hard", "soft", "dense"])
@pytest.mark.parametrize("cls", [Both, BothReversed])
def test_together_in_either_order(cls, kind):
    teacher, logits, target = Net(), make_logits(7, CLASSES), targets()[kind]
    module = cls(label_smoothing=0.1, teacher=teacher, temperature=4.0)
    expected = Distilling(teacher=teacher).compute_loss(logits, target, inputs=X)
    expected = expected - F.cross_entropy(logits, target) + F.cross_entropy(logits, target, label_smoothing=0.1)
    torch.testing.assert_close(module.compute_loss(logits, target, inputs=X), expected)


@pytest.mark.parametrize("cls", [Both, BothReversed])
def test_ignored_labels_silence_the_teacher_as_with_the_callbacks(cls):
    images, logits = torch.randn(3, 3, 4, 2), make_logits(3, CLASSES, 4, 2)
    teacher = torch.nn.Sequential(torch.nn.Conv2d(3, CLASSES, 1), torch.nn.Dropout(0.5))
    labels = torch.randint(CLASSES, (3, 4, 2), generator=torch.Generator().manual_seed(0))
    labels[0, 1:] = -100
    labels[2] = -100
    module = cls(label_smoothing=0.1, teacher=teacher, temperature=3.0, weight=0.5)
    for target in (labels, SoftTarget.mix([labels, labels.roll(1, 0)], [torch.tensor(0.75), torch.tensor(0.25)])):
        _, taught = Distillation(teacher, temperature=3.0, weight=0.5)((images, SoftTarget.smooth(target, 0.1)))
        expected = F.cross_entropy(logits, taught)
        torch.testing.assert_close(module.compute_loss(logits, target, inputs=images), expected)


@pytest.mark.parametrize("keep", [True, False])
def test_a_teacher_that_shares_parameters_with_the_module_is_refused(keep):
    teacher = torch.nn.Linear(3, CLASSES)
    module = Distilling(teacher=teacher)
    module.net = torch.nn.Linear(3, CLASSES) if keep else teacher
    if keep:
        module.teacher = teacher  # which makes it a submodule: trained, saved and put into training mode
    with pytest.raises(MisconfigurationException, match=r"DistillationMixin has frozen its teacher.*shares parameters"):
        module.compute_loss(make_logits(2, CLASSES), torch.tensor([0, 1]), inputs=torch.randn(2, 3))


def test_the_teacher_is_no_part_of_the_module():
    teacher = Net()
    module = Both(label_smoothing=0.1, teacher=teacher)
    module.train()
    assert not teacher.training
    assert module.teacher is teacher
    assert len(list(module.parameters())) == 2
    assert not any("body" in name for name in module.state_dict())
    assert copy.deepcopy(module).teacher is teacher
    module.compute_loss(make_logits(7, CLASSES), targets()["hard"], inputs=X)
    assert teacher.calls[0][:2] == (False, False)


def test_the_parts_are_logged_apart(make_trainer):
    module = Both(label_smoothing=0.0, teacher=torch.nn.Identity(), log_parts=True)
    module._teacher.modules[0] = copy.deepcopy(module.net)  # a teacher that agrees
    trainer = make_trainer(max_steps=1)
    trainer.fit(module, image_loader(n=8))
    torch.testing.assert_close(trainer.logged_metrics["distillation_kl"], torch.tensor(0.0), atol=1e-6, rtol=0)
    assert trainer.logged_metrics["hard_loss"] > 0


def test_nothing_is_logged_unless_asked_for(make_trainer):
    trainer = make_trainer(max_steps=1, callbacks=[Mixup(alpha=1.0)])
    trainer.fit(Both(label_smoothing=0.1, teacher=Net()), image_loader(n=8))
    assert not trainer.logged_metrics


def test_smoothing_twice_and_missing_inputs():
    logits, hard = make_logits(7, CLASSES), targets()["hard"]
    with pytest.raises(
        SoftTargetError,
        match=r"LabelSmoothingMixin: .*LabelSmoothing \(label_smoothing=0.1\).*again \(label_smoothing=0.2\)",
    ):
        Smoothing(label_smoothing=0.2).compute_loss(logits, SoftTarget.smooth(hard, 0.1))
    with pytest.raises(ValueError, match="inputs=x"):
        Distilling(teacher=Net()).compute_loss(logits, hard)
    with pytest.raises(TypeError, match=r"DistillationMixin needs inputs.*as one tensor, but got a dict with 'x'"):
        Distilling(teacher=Net()).compute_loss(logits, hard, inputs={"x": X})


@pytest.mark.parametrize(
    ("make_module", "error", "match"),
    [
        (lambda: Smoothing(label_smoothing=1.0), ValueError, "LabelSmoothingMixin needs label_smoothing to be at"),
        (lambda: Smoothing(label_smoothing=0.1, spread="wide"), ValueError, "spread"),
        (lambda: Distilling(teacher=Net(), temperature=-1.0), ValueError, "DistillationMixin needs temperature"),
        (lambda: Distilling(teacher=Net(), weight=-1.0), ValueError, "DistillationMixin needs weight"),
        (lambda: Distilling(teacher="net"), TypeError, "a teacher that is a module"),
        (lambda: Distilling(teacher=Net(), log_parts=1), TypeError, "log_parts"),
    ],
)
def test_bad_arguments(make_module, error, match):
    with pytest.raises(error, match=match):
        make_module()
