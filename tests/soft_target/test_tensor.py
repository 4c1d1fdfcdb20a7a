"""How soft targets are made, what they hold, and how they travel."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tricks import SoftTarget, SoftTargetError, soft_labels
from tests.soft_target.targets import C, assert_same_components, make, make_logits


def test_mix_takes_scalar_sample_and_full_weights():
    labels = [torch.randint(C, (2, 3, 4)) for _ in range(3)]
    full = torch.full((2, 3, 4), 0.25)
    target = SoftTarget.mix(labels, [torch.tensor(0.25, dtype=torch.float64), torch.tensor([0.5, 0.5]), full])
    assert_same_components(target, labels, [full, torch.full((2, 3, 4), 0.5), full])
    assert target.dtype == torch.int64


def test_mix_of_mixed_labels_multiplies_the_weights():
    labels, weights, target = make(k=2)
    partner, lam = target.roll(1, 0), torch.linspace(0, 1, 7)
    twice = SoftTarget.mix([target, partner], [lam, 1 - lam])
    rolled = [label.roll(1) for label in labels]
    assert_same_components(
        twice,
        [*labels, *rolled],
        [*[lam * w for w in weights], *[(1 - lam) * w.roll(1) for w in weights]],
    )


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_hard_labels_add_up_equal_labels_and_ties_go_to_the_original(data):
    k, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    labels = data.draw(st.lists(st.lists(st.integers(0, 2), min_size=n, max_size=n), min_size=k, max_size=k))
    eighths = data.draw(st.lists(st.lists(st.integers(0, 8), min_size=n, max_size=n), min_size=k, max_size=k))
    target = SoftTarget.mix([torch.tensor(row) for row in labels], [torch.tensor(row) / 8.0 for row in eighths])
    for i in range(n):
        totals = {}
        for label_row, weight_row in zip(labels, eighths, strict=True):
            totals[label_row[i]] = totals.get(label_row[i], 0) + weight_row[i]
        assert target.hard[i].item() == max(totals, key=totals.get)  # the first of equals, in insertion order


def test_mix_shares_no_memory_with_its_labels():
    label = torch.tensor([1, 2])
    target = SoftTarget.mix([label, label.flip(0)], [torch.ones(2), torch.zeros(2)])
    label.zero_()
    assert target.hard.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("labels", "weights", "error", "match"),
    [
        ([], [], ValueError, "got 0 and 0"),
        ([torch.tensor([1])], [], ValueError, "got 0 and 1"),
        ([torch.tensor([1.0])], [torch.ones(1)], TypeError, "integer tensors, but got torch.float32"),
        ([torch.tensor([True])], [torch.ones(1)], TypeError, "integer tensors, but got torch.bool"),
        ([[1]], [torch.ones(1)], TypeError, "integer tensors, but got list"),
        ([torch.tensor([1])], [1.0], TypeError, "floating tensors, but got float"),
        ([torch.tensor([1])], [torch.tensor([1])], TypeError, "floating tensors, but got torch.int64"),
        ([torch.tensor([1]), torch.tensor([1, 2])], [torch.ones(1)] * 2, ValueError, r"\(1,\), \(2,\)"),
        ([torch.tensor([1, 2])], [torch.ones(3)], ValueError, r"weights \(3,\)"),
    ],
)
def test_mix_refuses(labels, weights, error, match):
    with pytest.raises(error, match=match):
        SoftTarget.mix(labels, weights)


@pytest.mark.parametrize(
    "build",
    [
        lambda y, meta: SoftTarget.mix([y, y], [torch.ones(7), meta.float()]),
        lambda y, meta: SoftTarget.mix([y, y], [torch.tensor(1.0, device="meta")] * 2),
        lambda y, meta: SoftTarget.mix([y, meta], [torch.ones(7)] * 2),
        lambda y, meta: SoftTarget.mix([SoftTarget.smooth(y, 0.1), SoftTarget.smooth(meta, 0.1)], [torch.ones(7)] * 2),
        lambda y, meta: SoftTarget.mix([SoftTarget.smooth(meta, 0.1)], [torch.tensor(1.0)]),
        lambda y, meta: SoftTarget.distil(y, torch.zeros(7, C, device="meta")),
        lambda y, meta: SoftTarget.distil(SoftTarget.smooth(meta, 0.1), torch.zeros(7, C)),
    ],
)
def test_everything_lies_on_one_device(build):
    y = torch.zeros(7, dtype=torch.long)
    with pytest.raises(ValueError, match=r"on (one|the labels') device.*cpu|on the labels' device, meta"):
        build(y, y.to("meta"))


def test_mix_refuses_labels_of_different_kinds_and_teachers():
    _, _, target = make()
    half = [torch.tensor(0.5)] * 2
    with pytest.raises(ValueError, match="differ in smoothing"):
        SoftTarget.mix([target, SoftTarget.smooth(target, 0.1)], half)
    taught = SoftTarget.distil(target, torch.zeros(7, C))
    with pytest.raises(ValueError, match="Distillation comes after every mixing trick"):
        SoftTarget.mix([taught, taught], half)


def test_smoothing_commutes_with_mixing():
    labels, weights, target = make(k=2)
    smoothed = [SoftTarget.smooth(label, 0.1) for label in labels]
    logits = make_logits(7, C)
    torch.testing.assert_close(
        F.cross_entropy(logits, SoftTarget.mix(smoothed, weights)),
        F.cross_entropy(logits, SoftTarget.smooth(target, 0.1)),
    )


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"label_smoothing": 1.0}, r"at least 0 and below 1, but got 1.0"),
        ({"label_smoothing": -0.1}, r"at least 0 and below 1, but got -0.1"),
        ({"label_smoothing": 0.1, "spread": "some"}, "spread to be one of 'all', 'others', but got 'some'"),
    ],
)
def test_smooth_refuses(kwargs, match):
    with pytest.raises(ValueError, match=match):
        SoftTarget.smooth(torch.tensor([1]), **kwargs)


def test_smooth_and_distil_need_integer_labels():
    with pytest.raises(TypeError, match=r"integer labels, but got torch.float32"):
        SoftTarget.smooth(torch.zeros(2), 0.1)
    with pytest.raises(TypeError, match=r"integer labels, but got torch.float32"):
        SoftTarget.distil(torch.zeros(2), torch.zeros(2, C))


@pytest.mark.parametrize(
    ("logits", "kwargs", "match"),
    [
        (torch.zeros(3, C), {}, r"labels of shape \(7,\), but got \(3, 5\)"),
        (torch.zeros(7, C), {"temperature": 0.0}, "temperature to be above 0, but got 0.0"),
        (torch.zeros(7, C), {"weight": -1.0}, "SoftTarget.distil needs weight to be at least 0, but got -1.0"),
        ([], {}, "teachers whose logits have one shape"),
        ([torch.zeros(7, C), torch.zeros(7, 4)], {}, "teachers whose logits have one shape"),
    ],
)
def test_distil_refuses(logits, kwargs, match):
    with pytest.raises(ValueError, match=match):
        SoftTarget.distil(make()[2], logits, **kwargs)


def test_distil_refuses_a_second_teacher_of_other_classes():
    taught = SoftTarget.distil(make()[2], torch.zeros(7, C))
    with pytest.raises(ValueError, match=r"one shape, but got \(7, 5\) and \(7, 6\)"):
        SoftTarget.distil(taught, torch.zeros(7, 6))


def test_distil_holds_no_graph_of_the_teacher():
    logits = make_logits(7, C)
    taught = SoftTarget.distil(make()[2], logits)
    assert not F.cross_entropy(torch.zeros(7, C), taught).requires_grad


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4)])
def test_probabilities(shape):
    labels, weights, target = make(shape)
    dense = sum(F.one_hot(label, C) * w[..., None] for label, w in zip(labels, weights, strict=True))
    expected = dense.movedim(-1, 1) if shape else dense
    for got in (target.probabilities(C), soft_labels(target, C)):
        torch.testing.assert_close(got, expected)
        assert type(got) is torch.Tensor
    smoothed = SoftTarget.smooth(target, 0.2).probabilities(C)
    torch.testing.assert_close(smoothed, expected * 0.8 + 0.2 / C)
    others = SoftTarget.smooth(target, 0.2, spread="others").probabilities(C)
    torch.testing.assert_close(others, expected * 0.8 + (1 - expected) * 0.2 / (C - 1))


@pytest.mark.parametrize(("labels", "got"), [([0, 2], "0 to 2"), ([-100, 1], "-100 to 1")])
def test_soft_labels_name_the_number_of_classes(labels, got):
    labels = torch.tensor(labels)
    for y in (labels, SoftTarget.mix([torch.zeros_like(labels), labels], [torch.tensor(1.0), torch.tensor(0.0)])):
        with pytest.raises(
            ValueError, match=rf"soft_labels needs labels in 0\.\.1 for num_classes=2, but got some from {got}"
        ):
            soft_labels(y, 2)


def test_soft_labels_of_no_labels_or_unknown_ones():
    assert soft_labels(torch.empty(0, dtype=torch.long), 2).shape == (0, 2)
    assert soft_labels(torch.empty(3, dtype=torch.long, device="meta"), 2).shape == (3, 2)


def test_soft_labels_of_plain_labels_are_one_hot():
    assert torch.equal(soft_labels(torch.tensor([2, 0]), 3), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    with pytest.raises(ValueError, match="soft_labels needs num_classes to be at least 1, but got 0"):
        soft_labels(torch.tensor([0]), 0)
    with pytest.raises(TypeError, match="integer labels"):
        soft_labels(torch.zeros(2), 3)
    with pytest.raises(SoftTargetError, match="cast to floating point"):
        soft_labels(make()[2].float(), C)


@pytest.mark.parametrize(
    "travel", [copy.copy, copy.deepcopy, lambda y: pickle.loads(pickle.dumps(y))], ids=["copy", "deepcopy", "pickle"]
)
def test_copies_are_whole(travel):
    labels, weights, target = make()
    target = SoftTarget.distil(SoftTarget.smooth(target, 0.1), make_logits(7, C).detach(), temperature=2.0)
    got = travel(target)
    assert_same_components(got, labels, weights)
    logits = make_logits(7, C)
    torch.testing.assert_close(F.cross_entropy(logits, got), F.cross_entropy(logits, target))


def test_deepcopy_keeps_one_object_one():
    _, _, target = make()
    first, second = copy.deepcopy([target, target])
    assert first is second
    assert first._labels.data_ptr() != target._labels.data_ptr()


def test_it_travels_from_a_loader_process():
    queue = torch.multiprocessing.get_context("fork").SimpleQueue()
    labels, weights, target = make()
    queue.put(target)
    assert_same_components(queue.get(), labels, weights)


def test_nothing_is_read_back_from_the_device():
    labels = [torch.zeros(7, dtype=torch.long, device="meta") for _ in range(2)]
    target = SoftTarget.mix(labels, [torch.zeros(7, device="meta")] * 2)
    target = SoftTarget.mix([target, target.roll(1, 0)], [torch.zeros((), device="meta")] * 2)
    logits = torch.zeros(7, C, device="meta", requires_grad=True)
    taught = SoftTarget.distil(SoftTarget.smooth(target, 0.1), logits)
    F.cross_entropy(logits, taught, weight=torch.zeros(C, device="meta"), ignore_index=2).backward()
    F.mse_loss(logits[:, 0], target.float()).backward()
    assert (logits.argmax(1) == target).shape == (7,)
    assert target.hard.shape == (7,)
    assert target.probabilities(C).shape == (7, C)
    torch.cat([target, labels[0]])


def test_the_hash_for_the_compilers_cache_knows_what_the_graph_depends_on():
    _, _, target = make()
    hashes = [
        target._stable_hash_for_caching(),
        target[:3]._stable_hash_for_caching(),
        target.float()._stable_hash_for_caching(),
        SoftTarget.smooth(target, 0.1)._stable_hash_for_caching(),
        SoftTarget.distil(target, torch.zeros(7, C))._stable_hash_for_caching(),
        SoftTarget.distil(target, torch.zeros(7, C), temperature=2.0)._stable_hash_for_caching(),
        make(k=2)[2]._stable_hash_for_caching(),
    ]
    assert len(set(hashes)) == len(hashes)
    assert make(seed=3)[2]._stable_hash_for_caching() == hashes[0]


def test_the_hash_knows_the_source_since_the_compilers_cache_outlives_it(monkeypatch):
    from lightning_tricks.soft_target import state

    _, _, target = make()
    before = target._stable_hash_for_caching()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "losses.py"))
    state._source_digest.cache_clear()
    assert target._stable_hash_for_caching() != before
    monkeypatch.undo()
    state._source_digest.cache_clear()
    assert target._stable_hash_for_caching() == before


@pytest.mark.parametrize(
    "make_target", [lambda y: SoftTarget.smooth(y, 0.1), lambda y: SoftTarget.distil(y, torch.zeros(7, C))]
)
def test_labels_that_were_cast_take_no_smoothing_and_no_teacher(make_target):
    """Their losses would not know of it."""
    with pytest.raises(TypeError, match=r"integer labels, but got torch.float32"):
        make_target(make()[2].float())
    with pytest.raises(TypeError, match="integer labels, but got list"):
        make_target([0, 1])


def test_soft_labels_do_not_drop_a_teacher():
    target = SoftTarget.distil(torch.tensor([1, 0]), torch.zeros(2, 3))
    with pytest.raises(SoftTargetError, match="would leave out the teacher's loss"):
        soft_labels(target, 3)
