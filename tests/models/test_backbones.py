import pytest
import torch
from torch import nn
from torchvision import models

from lightning_tricks.models.backbones import build_model, model_names, tiny_cnn


def first_convolution(net):
    return next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [("tiny", 1, 8), ("resnet18", 1, 8), ("resnet18", 3, 65), ("squeezenet1_1", 2, 33), ("shufflenet_v2_x0_5", 1, 32)],
)
def test_logits(name, channels, size):
    net = build_model(name, num_classes=7, in_channels=channels, image_size=size)
    assert net.training
    assert net.eval()(torch.randn(2, channels, size, size)).shape == (2, 7)


def test_resnets_keep_small_images_and_no_other_changes():
    small, large = (build_model("resnet18", num_classes=5, image_size=size) for size in (64, 65))
    assert (small.conv1.stride, small.conv1.kernel_size, type(small.maxpool)) == ((1, 1), (3, 3), nn.Identity)
    assert (large.conv1.stride, large.conv1.kernel_size, type(large.maxpool)) == ((2, 2), (7, 7), nn.MaxPool2d)
    plain = models.resnet18(weights=None, num_classes=5)
    assert {k: v.shape for k, v in large.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}


def test_other_channels_change_the_first_convolution_alone():
    gray, colour = (build_model("resnet18", num_classes=5, in_channels=channels, image_size=96) for channels in (1, 3))
    shapes = [{name: p.shape for name, p in net.named_parameters()} for net in (gray, colour)]
    assert {name for name in shapes[0] if shapes[0][name] != shapes[1][name]} == {"conv1.weight"}
    assert (gray.conv1.stride, gray.conv1.padding, gray.conv1.bias) == ((2, 2), (3, 3), None)
    assert first_convolution(build_model("squeezenet1_1", num_classes=5, in_channels=2, image_size=33)).bias is not None


def test_a_vision_transformer_takes_the_size_of_the_images():
    net = build_model("vit_b_32", num_classes=4, image_size=64)
    assert net.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
    with pytest.raises(ValueError, match=r"model 'vit_b_32' cannot take images of 30 x 30 pixels: Input shape"):
        build_model("vit_b_32", num_classes=4, image_size=30)


def test_a_net_with_two_heads_gives_one_output():
    net = build_model("googlenet", num_classes=4, image_size=32)
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 4)


def test_wrong_names_and_sizes():
    with pytest.raises(ValueError, match=r"there is no model 'resent18'\. Did you mean 'resnet18'\?"):
        build_model("resent18", num_classes=4)
    with pytest.raises(ValueError, match=r"model 'alexnet' cannot take images of 8 x 8 pixels"):
        build_model("alexnet", num_classes=4, image_size=8)


def test_names_are_those_of_classification_models():
    assert {"tiny", "resnet50", "vit_b_16"} <= set(model_names())
    assert not {"fcn_resnet50", "fasterrcnn_resnet50_fpn", "raft_large"} & set(model_names())


@pytest.mark.parametrize(("n", "channels", "classes"), [(1, 1, 10), (3, 3, 7)])
def test_tiny_logits(n, channels, classes):
    net = tiny_cnn(num_classes=classes, in_channels=channels).eval()
    assert net(torch.randn(n, channels, 9, 6)).shape == (n, classes)
    assert net(torch.randn(n, channels, 2, 2)).shape == (n, classes)


def test_tiny_is_as_small_as_it_says():
    parameters = sum(p.numel() for p in tiny_cnn(num_classes=10, in_channels=1).parameters())
    assert round(parameters, -3) == 24_000
