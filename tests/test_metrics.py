import pytest
import torch

from lightning_tricks import MixedAccuracy, SoftTarget
from tests.soft_target.targets import C, make, make_logits


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4)])
def test_mixed_accuracy_is_the_weight_of_the_predicted_class(shape):
    metric, expected, count = MixedAccuracy(C), 0.0, 0
    for seed in range(3):
        labels, weights, target = make(shape, seed=seed)
        logits = make_logits(shape[0], C, *shape[1:], seed=seed)
        predicted = logits.argmax(1).flatten()
        for i, prediction in enumerate(predicted):
            for label, weight in zip(labels, weights, strict=True):
                expected += weight.flatten()[i].item() * (label.flatten()[i] == prediction).item()
            count += 1
        metric.update(logits, target if seed else SoftTarget.smooth(target, 0.1))
    torch.testing.assert_close(metric.compute(), torch.tensor(expected / count))


def test_for_hard_labels_it_is_accuracy_and_for_probabilities_their_weight():
    _, _, target = make()
    logits = make_logits(7, C)
    torch.testing.assert_close(MixedAccuracy(C)(logits, target.hard), (logits.argmax(1) == target.hard).float().mean())
    torch.testing.assert_close(MixedAccuracy(C)(logits, target.probabilities(C)), MixedAccuracy(C)(logits, target))


def test_the_states_of_all_ranks_are_added():
    whole, parts = MixedAccuracy(C), [MixedAccuracy(C), MixedAccuracy(C)]
    logits, (_, _, target) = make_logits(7, C), make()
    whole.update(logits, target)
    parts[0].update(logits[:2], target[:2])
    parts[1].update(logits[2:], target[2:])
    assert {fx for fx in whole._reductions.values()} == {torch.sum} or all(
        fx.__name__ == "dim_zero_sum" for fx in whole._reductions.values()
    )
    total = sum(p.total for p in parts)
    torch.testing.assert_close(whole.compute(), (sum(p.correct for p in parts) / total).float())


def test_its_states_are_at_home_on_every_device():
    """Apple's devices have no float64."""
    metric = MixedAccuracy(C)
    logits, (_, _, target) = make_logits(7, C), make()
    for labels in (target, target.hard, target.probabilities(C).double()):
        metric.update(logits, labels)
    assert {state.dtype for state in metric.metric_state.values()} == {torch.float32}


@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_an_ignored_label_counts_for_nothing(ignore_index):
    labels, weights, _ = make((2, 3, 4))
    labels[1][0, 0] = labels[0][0, 1] = ignore_index
    for label in labels:
        label[1, 2] = ignore_index  # here nothing is left
    logits = make_logits(2, C, 3, 4)
    correct = counted = 0.0
    for label, weight in zip(labels, weights, strict=True):
        for y, w, predicted in zip(label.flatten(), weight.flatten(), logits.argmax(1).flatten(), strict=True):
            counted += 0.0 if y == ignore_index else w.item()
            correct += w.item() if y == predicted and y != ignore_index else 0.0
    metric = MixedAccuracy(C, ignore_index=ignore_index)
    torch.testing.assert_close(metric(logits, SoftTarget.mix(labels, weights)), torch.tensor(correct / counted))
    hard, predicted = labels[0], logits.argmax(1)
    kept = hard != ignore_index
    torch.testing.assert_close(
        MixedAccuracy(C, ignore_index=ignore_index)(logits, hard), (predicted == hard)[kept].float().mean()
    )
    assert MixedAccuracy(C, ignore_index=1)(logits, torch.ones_like(hard)).isnan()


def test_bad_input():
    _, _, target = make()
    with pytest.raises(ValueError, match=r"shape \(N, 5, …\), but got \(7, 4\)"):
        MixedAccuracy(C).update(torch.zeros(7, 4), target)
    with pytest.raises(ValueError, match=r"target to be of shape \(6,\).*but got \(7,\)"):
        MixedAccuracy(C).update(torch.zeros(6, C), target)
    with pytest.raises(ValueError, match="at least 1, but got 0"):
        MixedAccuracy(0)
    with pytest.raises(TypeError, match="an integer"):
        MixedAccuracy(2.5)
    with pytest.raises(TypeError, match="ignore_index to be an integer"):
        MixedAccuracy(2, ignore_index="void")


def test_small_integers_and_bools_are_labels_too():
    logits = torch.eye(200)[[156, 44]]
    labels = torch.tensor([156, 1], dtype=torch.uint8)
    for ignore_index in (-100, 300):  # 156 and 44 in eight bits
        assert MixedAccuracy(200, ignore_index=ignore_index)(logits, labels) == 0.5
    assert MixedAccuracy(2)(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([True, False])) == 0.5
    target = SoftTarget.distil(labels[:1], torch.zeros(1, 200))
    assert torch.nn.functional.cross_entropy(logits[:1], target).isfinite()
