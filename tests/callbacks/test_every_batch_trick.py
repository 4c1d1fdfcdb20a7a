"""What holds for every batch trick in the registry."""

import dataclasses
import random
from collections import namedtuple

import numpy as np
import pytest
import torch

from lightning_tricks import SoftTarget
from tests.plain import PlainModule, image_loader
from tests.registry import BATCH_TRICKS, LABEL_TRICKS, MIXING_TRICKS

N, C, H, W = 6, 3, 16, 12
IMAGES = torch.rand(N, C, H, W, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
FLOATING = {"Mixup", "Mixup per sample", "RandomErasing with noise", "RandomChoice"}
EVERY_TRICK = BATCH_TRICKS | LABEL_TRICKS
KERNELS = {name: make for name, make in EVERY_TRICK.items() if "Augment" not in name}
every_trick = pytest.mark.parametrize("make", EVERY_TRICK.values(), ids=EVERY_TRICK.keys())
every_image_trick = pytest.mark.parametrize("make", BATCH_TRICKS.values(), ids=BATCH_TRICKS.keys())
every_kernel = pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS.keys())
Point = namedtuple("Point", ["image", "label"])


@dataclasses.dataclass
class Record:
    image: torch.Tensor
    label: torch.Tensor


@every_trick
def test_something_happens_and_nothing_is_written_to(make):
    images, labels = IMAGES.clone(), LABELS.clone()
    versions = images._version, labels._version
    new_images, target = make()((images, labels), rng=0)
    assert isinstance(target, SoftTarget) or make().name not in LABEL_TRICKS
    assert (images._version, labels._version) == versions
    assert torch.equal(images, IMAGES)
    assert torch.equal(labels, LABELS)
    assert torch.equal(new_images, images) is (make().name in LABEL_TRICKS)
    assert new_images.shape == images.shape


@every_trick
def test_nothing_global_is_drawn_from(make):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    seed = torch.initial_seed()
    make()((IMAGES, LABELS), rng=0)
    make()((IMAGES, LABELS))
    assert states[:2] == (random.getstate(), np.random.get_state()[1].tolist())
    assert torch.equal(states[2], torch.get_rng_state())
    assert torch.initial_seed() == seed


@every_image_trick
def test_the_same_rng_gives_the_same_batch_and_another_gives_another(make):
    def result(seed):
        return make()((IMAGES, LABELS), rng=seed)[0]

    assert torch.equal(result(3), result(3))
    assert any(not torch.equal(result(3), result(seed)) for seed in (4, 5))


@every_trick
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dtype_and_memory_format_are_kept(make, dtype, memory_format):
    images = IMAGES.to(dtype).contiguous(memory_format=memory_format)
    new_images, _ = make()((images, LABELS), rng=0)
    assert new_images.dtype == dtype
    assert new_images.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize(
    "name", ["CutMix", "CutMix per sample", "RICAP", "Mosaic", "Cutout", "RandomErasing", "Augment"]
)
def test_box_tricks_take_bytes(name):
    images = (IMAGES * 255).to(torch.uint8)
    new_images, _ = BATCH_TRICKS[name]()((images, LABELS), rng=0)
    assert new_images.dtype == torch.uint8
    assert not torch.equal(new_images, images)


@every_kernel
def test_meta_tensors_prove_that_nothing_is_read_back(make):
    for seed in range(3):
        images, target = make()((IMAGES.to("meta"), LABELS.to("meta")), rng=seed)
        assert images.device.type == target.device.type == "meta"
        assert images.shape == IMAGES.shape


@every_trick
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("channels", [1, 4, 8])
def test_batches_of_any_size(make, n, channels):
    images = torch.rand(n, channels, H, W)
    new_images, target = make()((images, LABELS.repeat(2)[:n]), rng=0)
    assert new_images.shape == images.shape
    assert target.shape == (n,)


@every_trick
@pytest.mark.parametrize("size", [(8, 8), (17, 31), (224, 160)])
def test_images_of_any_size(make, size):
    if "Augment" in make().name and size == (8, 8):
        size = (16, 12)
    images, _ = make()((torch.rand(2, 3, *size), LABELS[:2]), rng=0)
    assert images.shape[2:] == ((16, 12) if "Augment" in make().name else size)


@every_trick
@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (lambda x, y: [x, y], lambda batch: (batch[0], batch[1])),
        (lambda x, y: (x, y), lambda batch: (batch[0], batch[1])),
        (Point, lambda batch: (batch.image, batch.label)),
        (lambda x, y: {"image": x, "label": y}, lambda batch: (batch["image"], batch["label"])),
        (Record, lambda batch: (batch.image, batch.label)),
    ],
    ids=["list", "tuple", "namedtuple", "dict", "dataclass"],
)
def test_every_container_gives_the_same(make, pack, unpack):
    expected, expected_target = make()((IMAGES, LABELS), rng=1)
    batch = pack(IMAGES, LABELS)
    result = make()(batch, rng=1)
    images, target = unpack(result)
    assert type(result) is type(batch)
    assert torch.equal(images, expected)
    assert type(target) is type(expected_target)
    assert unpack(batch)[0] is IMAGES


@every_trick
def test_p_zero_leaves_the_images(make):
    images, target = make(p=0.0)((IMAGES, LABELS), rng=0)
    assert torch.equal(images, IMAGES)
    hard = target.hard if isinstance(target, SoftTarget) else target
    assert torch.equal(hard, LABELS)


@every_image_trick
def test_epochs_outside_the_window_leave_the_images(make):
    trick = make(start_epoch=2, stop_epoch=3)
    rng = np.random.default_rng
    for epoch, touched in ((0, False), (1, False), (2, True), (3, False)):
        (images, _), _ = trick.rewrite((IMAGES, LABELS), rng(0), epoch=epoch)
        assert torch.equal(images, IMAGES) is not touched


@every_trick
def test_the_drawn_parameters_are_a_frozen_dataclass_that_reproduces_the_batch(make):
    (images, _), params = make().rewrite((IMAGES, LABELS), np.random.default_rng(0))
    assert dataclasses.is_dataclass(params)
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.active = False
    trick = make()
    if trick.name != "RandomChoice":
        assert torch.equal(trick.apply(params, IMAGES, LABELS)[0], images)


@every_trick
def test_a_module_trains_with_it_and_a_resumed_run_draws_the_same(make, make_trainer, tmp_path):
    class Seen(PlainModule):
        def training_step(self, batch, batch_idx):
            self.seen.append(batch[0])
            return super().training_step(batch, batch_idx)

    def fit(max_epochs, ckpt_path=None):
        module = Seen(size=(H, W))
        module.seen = []
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(IMAGES, LABELS), batch_size=3, shuffle=False
        )
        torch.manual_seed(4)
        trainer = make_trainer(callbacks=[make()], max_epochs=max_epochs)
        trainer.fit(module, loader, ckpt_path=ckpt_path, weights_only=True)
        trainer.save_checkpoint(tmp_path / "end.ckpt")
        return module.seen

    whole = fit(3)
    fit(1)
    resumed = fit(3, tmp_path / "end.ckpt")
    assert len(resumed) == 4
    assert all(torch.equal(images, original) for images, original in zip(resumed, whole[2:], strict=True))
    assert torch.equal(whole[0], whole[2]) is (make().name in LABEL_TRICKS)


@pytest.mark.parametrize("make", MIXING_TRICKS.values(), ids=MIXING_TRICKS.keys())
@pytest.mark.parametrize("n", [2, 3, 7, 32])
def test_the_mean_pixel_is_the_weighted_label(make, n):
    labels = torch.arange(n)
    images = labels.float().view(n, 1, 1, 1).expand(n, 2, H, W)
    mixed_any = False
    for seed in range(8):
        mixed, target = make()((images, labels), rng=seed)
        means = sum(weights.double() * part for part, weights in target.components)
        torch.testing.assert_close(mixed.double().mean((1, 2, 3)), means, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(sum(weights for _, weights in target.components), torch.ones(n))
        mixed_any |= bool((mixed != images).any())
    assert mixed_any


@pytest.mark.parametrize("make", MIXING_TRICKS.values(), ids=MIXING_TRICKS.keys())
def test_every_form_of_labels_agrees(make):
    soft = make()((IMAGES, LABELS), rng=5)[1]
    dense = make(labels="dense", num_classes=5)((IMAGES, LABELS), rng=5)[1]
    torch.testing.assert_close(soft.probabilities(5), dense)
    counts = torch.zeros(N, 5)
    trick = make(labels="sample")
    params = trick.draw(np.random.default_rng(5), IMAGES)
    for picks in np.random.default_rng(0).random((1000, N), dtype=np.float32):
        label = trick.apply(dataclasses.replace(params, picks=picks), IMAGES, LABELS)[1]
        counts[torch.arange(N), label] += 1
    expected = make().apply(params, IMAGES, torch.eye(5)[LABELS])[1]
    assert ((counts / 1000 - expected).abs() <= 4 * (expected * (1 - expected) / 1000).sqrt() + 1e-6).all()


@pytest.mark.parametrize("make", MIXING_TRICKS.values(), ids=MIXING_TRICKS.keys())
def test_untouched_batches_carry_as_many_labels(make):
    touched, untouched = make()((IMAGES, LABELS), rng=0)[1], make(p=0.0)((IMAGES, LABELS), rng=0)[1]
    assert len(touched.components) == len(untouched.components) == make().num_components


@every_image_trick
def test_three_dimensional_images_are_refused_by_all_but_mixup(make):
    trick = make()
    if trick.name in ("Mixup", "RandomChoice"):
        return
    with pytest.raises(ValueError, match=rf"{trick.name} needs images of shape \(N, C, H, W\)"):
        trick((IMAGES[:, 0], LABELS), rng=0)


def test_image_loader_and_the_registry_are_what_the_checks_suppose():
    assert next(iter(image_loader()))[0].shape[2] != next(iter(image_loader()))[0].shape[3]
    assert len({make().name for make in BATCH_TRICKS.values()}) == 8
