import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_tricks.cli.tiny_cnn import TinyCNN


@pytest.mark.parametrize(("n", "channels", "classes"), [(1, 1, 10), (3, 3, 7)])
def test_logits(n, channels, classes):
    net = TinyCNN(num_classes=classes, in_channels=channels).eval()
    assert net(torch.randn(n, channels, 9, 6)).shape == (n, classes)


def test_optimizer():
    (group,) = TinyCNN(lr=0.02, weight_decay=3e-4).configure_optimizers().param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.02, 0.9, True, 3e-4)
    assert len(group["params"]) == len(list(TinyCNN().parameters()))


def test_logged_accuracies_and_loss(make_trainer, monkeypatch):
    torch.manual_seed(0)
    images, labels = torch.randn(7, 1, 8, 6), torch.randint(10, (7,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=3)
    net = TinyCNN(lr=1e-9)
    trainer = make_trainer(num_sanity_val_steps=0)
    trainer.fit(net, loader, loader)
    assert 0 <= trainer.callback_metrics["train_acc"] <= 1
    (metrics,) = trainer.validate(net, loader, verbose=False)
    net.eval()
    with torch.no_grad():
        logits = net(images)
    assert metrics["val_acc"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    monkeypatch.setattr(net, "log", lambda *args, **kwargs: None)
    assert net.training_step((images, labels), 0).item() == pytest.approx(F.cross_entropy(logits, labels).item())
