"""Weights to start from: files, published ones, and the models of timm."""

import builtins
import urllib.error

import lightning.pytorch as pl
import pytest
import timm
import torch
from torchvision import models

from lightning_tricks.models import Classifier
from lightning_tricks.models.backbones import build_model

SMALL = {"num_classes": 4, "image_size": 32}


def saved(path, net, **changes):
    torch.save({**net.state_dict(), **changes}, path)
    return path


def equal(net, other, *, less=()):
    state = other.state_dict()
    return all(torch.equal(value, state[key]) for key, value in net.state_dict().items() if key not in less)


def test_a_state_dict(tmp_path):
    net = build_model("shufflenet_v2_x0_5", **SMALL)
    assert equal(build_model("shufflenet_v2_x0_5", **SMALL, weights=saved(tmp_path / "net.pt", net)), net)


def test_a_lightning_checkpoint(tmp_path, make_trainer):
    module = Classifier(num_classes=4, in_channels=3, image_size=32)
    trainer = make_trainer(max_epochs=0)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    assert equal(Classifier(num_classes=4, in_channels=3, image_size=32, weights=tmp_path / "run.ckpt"), module)


def test_a_last_layer_for_other_classes_is_replaced_and_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("lightning_tricks.models.backbones.rank_zero_info", said.append)
    net = build_model("tiny", num_classes=7)
    path = saved(tmp_path / "net.pt", net)
    made = build_model("tiny", num_classes=4, weights=path)
    head = [key for key in net.state_dict() if key.startswith("12.")]
    assert equal(made, net, less=head)
    assert made[-1].weight.shape == (4, 64)
    assert said == [f"{path}: {key} is for 7 classes; it stays random, for the 4 of the data." for key in head]


def test_a_resnet_takes_the_stem_of_its_weights(tmp_path):
    plain, small = models.resnet18(num_classes=4), build_model("resnet18", **SMALL)
    for net in (plain, small):
        made = build_model("resnet18", **SMALL, weights=saved(tmp_path / "net.pt", net))
        assert equal(made, net)
        assert type(made.maxpool) is type(net.maxpool)


@pytest.fixture
def published(monkeypatch):
    """Torchvision's published weights of the shufflenet, as if they were downloaded."""
    net, kind = models.shufflenet_v2_x0_5(), type(models.get_model_weights("shufflenet_v2_x0_5").DEFAULT)
    monkeypatch.setattr(kind, "get_state_dict", lambda self, **kwargs: net.state_dict())
    return net


def test_published_weights(published):
    made = build_model("shufflenet_v2_x0_5", **SMALL, pretrained=True)
    assert equal(made, published, less=("fc.weight", "fc.bias"))
    assert equal(
        Classifier(model="shufflenet_v2_x0_5", num_classes=1000, in_channels=3, pretrained=True).net, published
    )


def test_published_weights_without_a_network(monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        ValueError, match=r"^model 'resnet18': its published weights cannot be downloaded: .*no route to"
    ):
        build_model("resnet18", **SMALL, pretrained=True)


def test_models_of_timm(tmp_path):
    net = build_model("timm/resnet10t", num_classes=4, in_channels=1, image_size=32)
    assert net.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 4)
    assert equal(timm.create_model("resnet10t", num_classes=4, in_chans=1), net, less=net.state_dict())
    again = build_model(
        "timm/resnet10t", num_classes=4, in_channels=1, image_size=32, weights=saved(tmp_path / "net.pt", net)
    )
    assert equal(again, net)
    vit = build_model("timm/vit_tiny_patch16_224", num_classes=4, image_size=48)
    assert vit.eval()(torch.zeros(2, 3, 48, 48)).shape == (2, 4)


def test_timm_is_optional(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "timm":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"^model 'timm/resnet10t' needs timm: pip install timm$"):
        build_model("timm/resnet10t", **SMALL)


def bad_missing(path):
    return path / "nowhere.pt", "cannot read these weights: No such file or directory"


def bad_text(path):
    (path / "net.pt").write_text("weights")
    return path / "net.pt", "cannot read these weights: "


def bad_empty(path):
    (path / "net.pt").touch()
    return path / "net.pt", "cannot read these weights: "


def bad_code(path):
    torch.save(pl.LightningModule(), path / "net.pt")
    return path / "net.pt", "cannot read these weights: Weights only load failed"


def bad_list(path):
    torch.save([torch.zeros(3)], path / "net.pt")
    return path / "net.pt", "these are no weights; expected a state_dict or a Lightning checkpoint"


def bad_other_model(path):
    net = models.shufflenet_v2_x0_5()
    return saved(path / "net.pt", net), r"these weights do not fit the model: 12.bias is missing \(\d+ differences\)"


def bad_channels(path):
    net = build_model("tiny", num_classes=4, in_channels=1)
    return saved(path / "net.pt", net), r"0.weight has shape \(16, 1, 3, 3\), not \(16, 3, 3, 3\) \(1 differences\)"


def bad_extra(path):
    net = build_model("tiny", num_classes=4)
    return saved(path / "net.pt", net, more=torch.zeros(1)), "more is not in the model"


BAD = [make for name, make in list(globals().items()) if name.startswith("bad_")]


@pytest.mark.parametrize("make", BAD)
def test_files_that_do_not_fit(make, tmp_path):
    path, message = make(tmp_path)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        build_model("tiny", num_classes=4, weights=path)


def test_both_or_none_published(tmp_path):
    with pytest.raises(ValueError, match="Classifier needs pretrained or weights, but got both"):
        build_model("resnet18", **SMALL, pretrained=True, weights=tmp_path)
    with pytest.raises(ValueError, match="model 'tiny' has no published weights"):
        build_model("tiny", **SMALL, pretrained=True)
