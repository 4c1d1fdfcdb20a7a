import numpy as np
import pytest
import torch

from lightning_tricks import RandomErasing

SIZE = (640, 480)


def boxes(count=4000, **arguments):
    params = RandomErasing(**arguments).draw(np.random.default_rng(0), torch.zeros(1).expand(count, 1, *SIZE))
    return params.boxes


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_p_is_the_chance_of_an_image(p):
    touched = (boxes(p=p)[:, 2:].prod(1) > 0).sum()
    assert abs(touched - 4000 * p) <= 3 * (4000 * p * (1 - p)) ** 0.5


def test_half_of_the_images_is_touched():
    images = torch.ones(4000, 1, 16, 12)
    touched = (RandomErasing(p=0.5)((images, None), rng=0)[0] != images).flatten(1).any(1).sum()
    assert abs(touched - 2000) <= 3 * 1000**0.5


@pytest.mark.parametrize("scale", [(0.02, 0.4), (0.1, 0.2), (0.3, 0.3)])
def test_areas_follow_the_scale(scale):
    share = boxes(p=1.0, scale=scale, ratio=(1.0, 1.0))[:, 2:].prod(1) / (SIZE[0] * SIZE[1])
    low, high = scale
    assert share.min() > low - 0.02
    assert share.max() < high + 0.02
    assert abs(share.mean() - (low + high) / 2) < 4 * (high - low) / (12 * 4000) ** 0.5 + 0.001


def test_the_ratio_is_symmetric_in_its_logarithm_or_uniform():
    for sampling, expected in (("log", 0.0), ("uniform", np.mean(np.log(np.linspace(0.5, 2.0, 10_001))))):
        height, width = boxes(p=1.0, scale=(0.1, 0.1), ratio=(0.5, 2.0), ratio_sampling=sampling)[:, 2:].T
        assert abs(np.log(height / width).mean() - expected) < 0.03


def test_values():
    images = torch.full((64, 3, 16, 12), 5.0)
    number = RandomErasing(p=1.0, value=2.0)((images, None), rng=0)[0]
    assert set(number.unique().tolist()) == {2.0, 5.0}
    channels = RandomErasing(p=1.0, value=(1.0, 2.0, 3.0))((images, None), rng=0)[0]
    assert [set(channels[:, c].unique().tolist()) for c in range(3)] == [{1.0, 5.0}, {2.0, 5.0}, {3.0, 5.0}]
    noise = RandomErasing(p=1.0, value="random")((images, None), rng=0)[0]
    noise = noise[noise != 5.0]
    assert abs(noise.mean()) < 4 / len(noise) ** 0.5
    assert abs(noise.std() - 1) < 4 / (2 * len(noise)) ** 0.5
    assert len(noise.unique()) > 0.99 * len(noise)


def test_noise_depends_on_the_trick_alone():
    images = torch.zeros(8, 3, 16, 12)
    torch.manual_seed(0)
    first = RandomErasing(p=1.0, value="random")((images, None), rng=0)[0]
    torch.manual_seed(1)
    assert torch.equal(RandomErasing(p=1.0, value="random")((images, None), rng=0)[0], first)
    assert not torch.equal(RandomErasing(p=1.0, value="random")((images, None), rng=1)[0], first)


def test_noise_is_drawn_anew_for_each_batch():
    rng, images = np.random.default_rng(0), torch.zeros(8, 3, 16, 12)
    whole = RandomErasing(p=1.0, scale=(1.0, 1.0), ratio=(16 / 12, 16 / 12), value="random")
    first, second = (whole.rewrite((images, None), rng)[0][0] for _ in range(2))
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 4 / first.numel() ** 0.5


def test_noise_needs_floating_point():
    with pytest.raises(TypeError, match=r'RandomErasing needs floating-point images for value="random", but got uint8'):
        RandomErasing(value="random")((torch.zeros(2, 3, 8, 6, dtype=torch.uint8), None))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"p": 2}, ValueError, "RandomErasing needs p to be at least 0 and at most 1"),
        ({"scale": 0.3}, TypeError, "RandomErasing needs scale to be a pair of numbers, but got 0.3"),
        ({"scale": (0.5, 0.1)}, ValueError, "RandomErasing needs scale to be increasing, but got"),
        ({"scale": (0.5, 1.1)}, ValueError, "RandomErasing needs scale to be at least 0 and at most 1, but got 1.1"),
        ({"ratio": (0, 1)}, ValueError, "RandomErasing needs ratio to be above 0, but got 0"),
        ({"ratio": ("a", 1)}, TypeError, "RandomErasing needs ratio to be a number, but got 'a'"),
        ({"value": "noise"}, ValueError, "RandomErasing needs value to be one of 'random', but got 'noise'"),
        ({"value": None}, TypeError, "RandomErasing needs value to be a number, but got None"),
        ({"ratio_sampling": "linear"}, ValueError, "RandomErasing needs ratio_sampling to be one of 'log', 'uniform'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        RandomErasing(**arguments)
