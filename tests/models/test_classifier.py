import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_tricks import AdaBound
from lightning_tricks.models import Classifier


def test_optimizer():
    (group,) = Classifier(lr=0.02, weight_decay=3e-4).configure_optimizers().param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.02, 0.9, True, 3e-4)
    assert len(group["params"]) == len(list(Classifier().parameters()))


def test_adabound_ends_at_the_rate():
    optimizer = Classifier(lr=0.02, optimizer="adabound").configure_optimizers()
    assert isinstance(optimizer, AdaBound)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["final_lr"], group["weight_decay"]) == (pytest.approx(2e-4), 0.02, 5e-4)


def test_biases_without_decay():
    decayed, others = Classifier(bias_decay=False).configure_optimizers().param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (5e-4, 0.0)
    assert all(p.ndim > 1 for p in decayed["params"])


def test_zero_gamma():
    net = Classifier(model="resnet18", zero_gamma=True).net
    assert not net.layer1[0].bn2.weight.any()
    assert Classifier(model="resnet18").net.layer1[0].bn2.weight.all()
    with pytest.raises(ValueError, match="zero_gamma needs residual blocks"):
        Classifier(zero_gamma=True)


def test_the_net_suits_the_data():
    net = Classifier(num_classes=3, in_channels=2, image_size=5)
    assert net(torch.randn(4, 2, 5, 5)).shape == (4, 3)


def test_logged_accuracies_and_loss(make_trainer, monkeypatch):
    torch.manual_seed(0)
    images, labels = torch.randn(7, 1, 8, 6), torch.randint(10, (7,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=3)
    net = Classifier(lr=1e-9)
    trainer = make_trainer(num_sanity_val_steps=0)
    trainer.fit(net, loader, loader)
    assert 0 <= trainer.callback_metrics["train_acc"] <= 1
    (validated,) = trainer.validate(net, loader, verbose=False)
    (tested,) = trainer.test(net, loader, verbose=False)
    net.eval()
    with torch.no_grad():
        logits = net(images)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert validated["val_acc"] == pytest.approx(accuracy)
    assert tested["test_acc"] == pytest.approx(accuracy)
    monkeypatch.setattr(net, "log", lambda *args, **kwargs: None)
    assert net.training_step((images, labels), 0).item() == pytest.approx(F.cross_entropy(logits, labels).item())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_classes": 1}, ValueError, "num_classes to be at least 2"),
        ({"lr": 0.0}, ValueError, "lr to be above 0"),
        ({"lr": "fast"}, TypeError, "lr to be a number"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay to be at least 0"),
        ({"optimizer": "adam"}, ValueError, "optimizer to be one of 'sgd', 'adabound'"),
        ({"model": "tinny"}, ValueError, "Did you mean 'tiny'"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        Classifier(**options)
