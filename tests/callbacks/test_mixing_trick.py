"""What becomes of every kind of target, shown with the tricks that blend (Mixup) and that cut (CutMix)."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision import tv_tensors

from lightning_tricks import RICAP, CutMix, Mixup, Mosaic, SoftTarget
from lightning_tricks.callbacks.cutmix import CutMixParams
from lightning_tricks.callbacks.mixing_trick import MixParams

N, H, W = 4, 6, 8
IMAGES = torch.rand(N, 3, H, W, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3])
BLEND = MixParams(active=True, shifts=(0, 1), weights=(0.75, 1 - 0.75))
CUT = CutMixParams(active=True, box=np.array([1, 2, 3, 4]), shifts=(0, 1), weights=(0.75, 0.25))


def partner(tensor):
    return torch.stack([tensor[(i + 1) % N] for i in range(N)])


def cut(tensor):
    result = tensor.clone()
    result[..., 1:4, 2:6] = partner(tensor)[..., 1:4, 2:6]
    return result


def mix(params, target, images=IMAGES, **arguments):
    trick = (CutMix if isinstance(params, CutMixParams) else Mixup)(**arguments)
    return trick.apply(params, images, target)[1]


@pytest.mark.parametrize("params", [BLEND, CUT])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_class_indices_become_a_soft_target(params, dtype):
    target = mix(params, LABELS.to(dtype))
    (own, lam), (other, rest) = target.components
    assert isinstance(target, SoftTarget)
    assert target.dtype == own.dtype == dtype
    assert (own.tolist(), other.tolist()) == ([0, 1, 2, 3], [1, 2, 3, 0])
    assert (lam.tolist(), rest.tolist()) == ([0.75] * N, [0.25] * N)


def test_class_indices_become_dense_probabilities():
    target = mix(BLEND, LABELS, labels="dense", num_classes=5)
    assert type(target) is torch.Tensor
    assert target.dtype == torch.float32
    assert torch.equal(target, 0.75 * F.one_hot(LABELS, 5) + 0.25 * F.one_hot(partner(LABELS), 5))


def test_class_indices_become_a_label_drawn_by_weight():
    params = dataclasses.replace(BLEND, picks=np.array([0, 0.7499, 0.75, 0.999], np.float32))
    target = mix(params, LABELS.int(), labels="sample")
    assert type(target) is torch.Tensor
    assert target.dtype == torch.int64
    assert target.tolist() == [0, 1, 3, 0]


def test_a_drawn_label_has_the_weights_as_its_chances():
    trick, lams, kept = Mixup(alpha=1.0, labels="sample"), [], []
    rng = np.random.default_rng(0)
    labels, images = torch.arange(100), torch.zeros(100, 1)
    for _ in range(200):
        params = trick.draw(rng, images)
        lams.append(params.weights[0])
        kept.append((trick.apply(params, images, labels)[1] == labels).float().mean().item())
    deviations = np.array(kept) - np.array(lams)
    limit = 4 * np.sqrt(np.mean(np.array(lams) * (1 - np.array(lams))) / (100 * 200))
    assert abs(deviations.mean()) < limit
    assert np.corrcoef(kept, lams)[0, 1] > 0.95


def focal(logits, labels):
    log_p = logits.log_softmax(1)[torch.arange(len(labels)), labels]
    return -((1 - log_p.exp()) ** 2 * log_p)


def test_a_hand_written_loss_has_the_right_expectation_over_draws():
    trick = Mixup(alpha=1.0, labels="sample")
    logits = torch.randn(N, 5, generator=torch.Generator().manual_seed(1))
    params = trick.draw(np.random.default_rng(0), IMAGES)
    own, other = params.weights
    exact = own * focal(logits, LABELS) + other * focal(logits, partner_by(LABELS, params.shifts[1]))
    rng = np.random.default_rng(1)
    losses = torch.stack(
        [
            focal(logits, mix(dataclasses.replace(params, picks=picks), LABELS, labels="sample"))
            for picks in rng.random((2000, N), dtype=np.float32)
        ]
    )
    spread = losses.std(0) / 2000**0.5
    assert (spread > 0).all()
    assert ((losses.mean(0) - exact).abs() < 4 * spread).all()


def partner_by(tensor, shift):
    return torch.stack([tensor[(i + shift) % len(tensor)] for i in range(len(tensor))])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_floating_targets_become_their_weighted_sum(dtype):
    for target in (torch.rand(N, 5).to(dtype), torch.rand(N).to(dtype), torch.rand(N, 2, 3).to(dtype)):
        mixed = mix(BLEND, target)
        assert type(mixed) is torch.Tensor
        assert mixed.dtype == dtype
        torch.testing.assert_close(mixed, (0.75 * target.double() + 0.25 * partner(target).double()).to(dtype))


def test_soft_targets_are_composed():
    first = SoftTarget.mix([LABELS, partner(LABELS)], [torch.full((N,), 0.6), torch.full((N,), 0.4)])
    dense = first.probabilities(4)
    composed = mix(BLEND, first)
    assert len(composed.components) == 4
    torch.testing.assert_close(composed.probabilities(4), 0.75 * dense + 0.25 * partner(dense))
    torch.testing.assert_close(mix(CUT, first, labels="dense", num_classes=4), 0.75 * dense + 0.25 * partner(dense))


@pytest.mark.parametrize("shape", [(N, H, W), (N, 1, H, W)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float32])
def test_masks_are_cut_with_their_images(shape, dtype):
    masks = torch.randint(2, shape).to(dtype)
    mixed = mix(CUT, masks)
    assert type(mixed) is torch.Tensor
    assert torch.equal(mixed, cut(masks))


@pytest.mark.parametrize("trick", [CutMix(), CutMix(per_sample=True), RICAP(beta=1.0)], ids=["one", "each", "RICAP"])
@pytest.mark.parametrize("shape", [(N, H, W), (N, 1, H, W)])
def test_each_pixel_of_a_mask_goes_where_that_of_the_image_goes(trick, shape):
    masks = torch.arange(N * H * W).view(shape)
    images, mixed = trick((masks.view(N, 1, H, W).float(), masks), rng=1)
    assert torch.equal(mixed.view(N, 1, H, W).float(), images)
    assert not torch.equal(mixed, masks)


@pytest.mark.parametrize("shape", [(N, H, W), (N, 1, H, W)])
def test_each_quadrant_of_a_mosaic_shows_the_mask_of_its_image(shape):
    labels = torch.arange(N)
    for seed in range(4):
        images = labels.double().view(N, 1, 1, 1).expand(N, 3, H, W)
        masks = labels.view(N, *[1] * (len(shape) - 1)).expand(shape)
        images, mixed = Mosaic()((images, masks), rng=seed)
        torch.testing.assert_close(images[:, :1], mixed.view(N, 1, H, W).double())
        assert not torch.equal(mixed, masks)


def test_masks_of_classes_become_components_when_blended():
    masks = torch.randint(3, (N, H, W))
    mixed = mix(BLEND, masks)
    logits = torch.randn(N, 3, H, W)
    expected = 0.75 * F.cross_entropy(logits, masks) + 0.25 * F.cross_entropy(logits, partner(masks))
    torch.testing.assert_close(F.cross_entropy(logits, mixed), expected)
    assert mix(BLEND, masks, labels="dense", num_classes=3).shape == (N, 3, H, W)
    picks = dataclasses.replace(BLEND, picks=np.array([0, 0.8, 0, 0.8], np.float32))
    drawn = mix(picks, masks, labels="sample")
    assert torch.equal(drawn, torch.stack([masks[0], masks[2], masks[2], masks[0]]))


def test_masks_that_were_blended_can_be_cut():
    masks = torch.randint(3, (N, H, W))
    blended = mix(BLEND, masks)
    both = mix(CUT, blended)
    torch.testing.assert_close(both.probabilities(3), cut(blended.probabilities(3)))
    dense = mix(CUT, blended, labels="dense", num_classes=3)
    assert type(dense) is torch.Tensor
    torch.testing.assert_close(dense, both.probabilities(3))


@pytest.mark.parametrize("trick", [CutMix(), RICAP(), Mosaic(), Mixup(alpha=1.0)], ids=lambda trick: trick.name)
def test_masks_may_be_smoothed_before_or_after(trick):
    masks = torch.randint(3, (N, H, W))
    smoothed = SoftTarget.smooth(masks, 0.3, spread="others")
    (_, before), (_, mixed) = (trick((IMAGES, target), rng=2) for target in (smoothed, masks))
    after = SoftTarget.smooth(mixed, 0.3, spread="others")
    assert not torch.equal(mixed, masks) if type(mixed) is torch.Tensor else len(mixed.components) > 1
    torch.testing.assert_close(before.probabilities(3), after.probabilities(3))


@pytest.mark.parametrize("shape", [(N,), (N, H, W)])
def test_sampled_labels_cannot_carry_a_smoothing(shape):
    smoothed = SoftTarget.smooth(torch.zeros(shape, dtype=torch.long), 0.1)
    with pytest.raises(ValueError, match=r"CutMix with labels=\"sample\".*0\.1\); put LabelSmoothing after CutMix"):
        CutMix(labels="sample")((IMAGES, smoothed), rng=2)


@pytest.mark.parametrize("trick", [CutMix(), Mixup()], ids=lambda trick: trick.name)
@pytest.mark.parametrize("shape", [(N,), (N, H, W)])
def test_labels_with_a_teacher_are_not_mixed(trick, shape):
    taught = SoftTarget.distil(torch.zeros(shape, dtype=torch.long), torch.randn(N, 3, *shape[1:]))
    with pytest.raises(ValueError, match=rf"{trick.name}.*a teacher.*Distillation comes after every mixing trick"):
        trick((IMAGES, taught), rng=2)


@pytest.mark.parametrize("size", [(N, W), (H, N)])
def test_two_dimensions_that_happen_to_be_the_images_are_no_mask(size):
    images, target = torch.rand(N, 3, *size), torch.rand(N, size[1])
    params = dataclasses.replace(CUT, box=(0, 0, size[0] // 2, size[1]), weights=(0.5, 0.5))
    torch.testing.assert_close(mix(params, target, images), 0.5 * target + 0.5 * partner(target))


def test_floating_masks_are_blended():
    depth = torch.rand(N, 1, H, W)
    torch.testing.assert_close(mix(BLEND, depth), 0.75 * depth + 0.25 * partner(depth))


def test_several_targets_are_each_mixed():
    target = {"kind": LABELS, "parts": [torch.rand(N, 2), (torch.randint(3, (N, H, W)),)]}
    mixed = mix(CUT, target)
    assert isinstance(mixed["kind"], SoftTarget)
    torch.testing.assert_close(mixed["parts"][0], 0.75 * target["parts"][0] + 0.25 * partner(target["parts"][0]))
    assert torch.equal(mixed["parts"][1][0], cut(target["parts"][1][0]))
    assert type(mixed["parts"][1]) is tuple
    assert type(target["kind"]) is torch.Tensor


def test_images_without_a_target_are_mixed():
    images = Mixup(alpha=1.0)(IMAGES, rng=0)
    assert images.shape == IMAGES.shape
    assert not torch.equal(images, IMAGES)


def test_tv_tensors_keep_their_type():
    batch = {"image": tv_tensors.Image(IMAGES), "label": tv_tensors.Mask(torch.randint(2, (N, H, W)))}
    mixed = CutMix()(batch, rng=1)
    assert type(mixed["image"]) is tv_tensors.Image
    assert type(mixed["label"]) is tv_tensors.Mask
    plain = CutMix()({key: value.as_subclass(torch.Tensor) for key, value in batch.items()}, rng=1)
    assert torch.equal(mixed["image"], plain["image"])
    assert torch.equal(mixed["label"], plain["label"])
    assert not torch.equal(plain["label"], batch["label"])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_a_typed_mask_of_classes_becomes_components_when_blended(p):
    masks = torch.randint(3, (N, H, W))
    target = Mixup(alpha=1.0, p=p)((IMAGES, tv_tensors.Mask(masks)), rng=0)[1]
    plain = Mixup(alpha=1.0, p=p)((IMAGES, masks), rng=0)[1]
    assert type(target) is SoftTarget
    assert torch.equal(target.probabilities(3), plain.probabilities(3))


@pytest.mark.parametrize("labels", ["soft", "sample", "dense"])
@pytest.mark.parametrize(("on_images", "on_labels"), [("cpu", "meta"), ("meta", "cpu")])
def test_labels_may_lie_on_another_device_than_the_images(labels, on_images, on_labels):
    arguments = {"labels": labels, "num_classes": 5 if labels == "dense" else None}
    batch = (IMAGES.to(on_images), [LABELS.to(on_labels), torch.rand(N, 2, device=on_labels)])
    images, (target, regression) = Mixup(alpha=1.0, **arguments)(batch, rng=0)
    assert images.device.type == on_images
    assert target.device.type == regression.device.type == on_labels
    if labels == "soft":
        assert all(part.device.type == on_labels for pair in target.components for part in pair)
    expected = Mixup(alpha=1.0, **arguments)((IMAGES, LABELS), rng=0)[1]
    if on_labels == "cpu":
        assert torch.equal(*(each.probabilities(5) if labels == "soft" else each for each in (target, expected)))


@pytest.mark.parametrize(("labels", "range_"), [([0, 1, 2, 5], "0 to 5"), ([-100, 0, 1, 2], "-100 to 2")])
def test_dense_labels_out_of_range_are_refused(labels, range_):
    dense = Mixup(alpha=1.0, labels="dense", num_classes=5)
    message = rf"Mixup needs labels in 0\.\.4 for num_classes=5, but got some from {range_}"
    with pytest.raises(ValueError, match=message):
        dense((IMAGES, torch.tensor(labels)), rng=0)


@pytest.mark.parametrize("trick", [Mixup, CutMix])
@pytest.mark.parametrize("arguments", [{"p": 0.0}, {"alpha": 0.0}])
def test_a_batch_that_is_not_touched_has_labels_of_the_same_form(trick, arguments):
    images, target = trick(**arguments)((IMAGES, LABELS), rng=0)
    assert images is IMAGES
    assert [weights.tolist() for _, weights in target.components] == [[1.0] * N, [0.0] * N]
    dense = trick(labels="dense", num_classes=4, **arguments)((IMAGES, LABELS), rng=0)[1]
    assert torch.equal(dense, F.one_hot(LABELS).float())
    sampled = trick(labels="sample", **arguments)((IMAGES, LABELS), rng=0)[1]
    assert type(sampled) is torch.Tensor
    assert torch.equal(sampled, LABELS)
    masks, weights = torch.randint(3, (N, 1, H, W)).float(), torch.rand(N, 5)
    assert trick(**arguments)((IMAGES, [masks, weights]), rng=0)[1][0] is masks
    assert trick(**arguments)((IMAGES, [masks, weights]), rng=0)[1][1] is weights


@pytest.mark.parametrize("trick", [Mixup, CutMix])
@pytest.mark.parametrize("n", [0, 1])
def test_without_a_partner_the_images_stay(trick, n):
    for arguments in ({}, {"per_sample": True}):
        images, target = trick(alpha=1.0, **arguments)((IMAGES[:n], LABELS[:n]), rng=0)
        assert torch.equal(images, IMAGES[:n])
        assert torch.equal(target.probabilities(4), F.one_hot(LABELS[:n], 4).float())


def test_the_draw_does_not_depend_on_labels():
    soft = Mixup(alpha=1.0)((IMAGES, LABELS), rng=3)
    sampled = Mixup(alpha=1.0, labels="sample")((IMAGES, LABELS), rng=3)
    assert torch.equal(soft[0], sampled[0])


@pytest.mark.parametrize("trick", [Mixup, CutMix])
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (LABELS[:3], ValueError, r"needs one target for each of its 4 images, but got int64\[3\]"),
        (torch.tensor(3), ValueError, r"needs one target for each of its 4 images, but got int64\[\]"),
        (torch.zeros(N, 5, dtype=torch.bool), TypeError, r"but got bool\[4, 5\]; multi-hot labels are mixed as float"),
        (torch.zeros(N, dtype=torch.complex64), TypeError, r"but got complex64\[4\]"),
        (["cat", "dog", "cat", "dog"], TypeError, "needs targets that are tensors, but got str"),
        ({"label": LABELS, "path": "a.png"}, TypeError, "needs targets that are tensors, but got str"),
        (np.arange(4), TypeError, "needs targets that are tensors, but got ndarray"),
        (torch.eye(4).to_sparse(), TypeError, r"but got float32\[4, 4\] of layout torch.sparse_coo"),
    ],
)
def test_bad_targets(trick, target, error, message):
    with pytest.raises(error, match=f"{trick.__name__} .*{message}".replace(" .*needs", " needs")):
        trick()((IMAGES, target), rng=0)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_labels_with_which_torch_computes_no_loss(dtype):
    with pytest.raises(TypeError, match=f"^Mixup needs labels .*, but got {dtype}"):
        Mixup()((IMAGES, LABELS.to(dtype)), rng=0)


def test_masks_of_bools_cannot_be_blended():
    with pytest.raises(TypeError, match=r"Mixup needs integer class labels.*but got bool\[4, 6, 8\]"):
        Mixup()((IMAGES, torch.zeros(N, H, W, dtype=torch.bool)), rng=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"labels": "hard"}, ValueError, "Mixup needs labels to be one of 'soft', 'sample', 'dense', but got 'hard'"),
        ({"labels": 1}, TypeError, "Mixup needs labels to be one of"),
        ({"labels": "dense"}, ValueError, 'Mixup needs num_classes for labels="dense"'),
        ({"num_classes": 10}, ValueError, "and for that alone, but got labels='soft' and num_classes=10"),
        ({"labels": "dense", "num_classes": 0}, ValueError, "Mixup needs num_classes to be at least 1"),
        ({"labels": "dense", "num_classes": 2.0}, TypeError, "Mixup needs num_classes to be an integer"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Mixup(**arguments)


@pytest.mark.parametrize("trick", [CutMix(), RICAP(), Mosaic()], ids=lambda trick: trick.name)
@pytest.mark.parametrize("nest", [lambda boxes: boxes, lambda boxes: {"box": boxes}], ids=["bare", "in a dict"])
def test_boxes_outside_detection_targets_are_not_averaged_over_patches(trick, nest):
    boxes = tv_tensors.BoundingBoxes(torch.ones(N, 4), format="XYXY", canvas_size=(6, 8))
    with pytest.raises(TypeError, match=rf"{trick.name} needs boxes in detection targets.* but got float32\[4, 4\]"):
        trick((torch.rand(N, 3, 6, 8), nest(boxes)), rng=0)
