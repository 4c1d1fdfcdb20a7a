import numpy as np
import pytest

from lightning_tricks.study import Ablation, compare
from tests.study import calibration
from tests.study.small import Data, Module
from tests.study.test_comparison import records

LARGER = (
    "val_acc val-acc val.acc val/acc valAcc ValAcc valacc acc@1 acc1 top1 top_5 top-1-acc acc/dataloader_idx_0 VAL_ACC "
    "MulticlassAccuracy val_acc_epoch f1 F1Score f1-score auroc AUROC macro_precision recall@5 iou mIoU mAP val/mAP_50 "
    "dice mcc cohen_kappa prec1"
)
SMALLER = (
    "val_loss valid/Loss val:loss valLoss ValLOSS loss_epoch val_losses error error_rate ErrorRate top1_error top1err "
    "mse MSELoss mae rmse perplexity ppl nll ece calibration_error brier_score wer cer cross_entropy crossentropy "
    "log_loss hamming_distance"
)
UNKNOWN = (
    "lossless_score error_free_acc dice_loss iou_error 1-acc val/1-acc one_minus_acc neg_loss acc_drop acc_std score "
    "weight epoch glossy backlog accordion mapping terror classes"
)


def mode_of(metric, **kwargs):
    return Ablation(Module, Data, {"same": list}, metric=metric, **kwargs).mode


@pytest.mark.parametrize("metric", LARGER.split())
def test_larger_is_better(metric):
    assert mode_of(metric) == "max"


@pytest.mark.parametrize("metric", [*SMALLER.split(), "val loss"])
def test_smaller_is_better(metric):
    assert mode_of(metric) == "min"


@pytest.mark.parametrize("metric", [*UNKNOWN.split(), ""])
def test_a_name_that_does_not_say_it_needs_a_mode(metric):
    with pytest.raises(ValueError, match=r"Ablation needs mode to be given.*pass mode='max' if larger"):
        mode_of(metric)
    assert mode_of(metric, mode="min") == "min"


def test_a_given_mode_is_obeyed():
    assert mode_of("val_acc", mode="min") == "min"


def test_a_larger_loss_hurts():
    runs = records(baseline=[0.31, 0.29, 0.32, 0.27], worse=[5.30, 5.32, 5.29, 5.31])
    assert compare([run | {"metric": "val_loss"} for run in runs])[1].verdict == "hurts"
    with pytest.raises(ValueError, match=r"compare needs mode to be given.*metric 'score'"):
        compare([run | {"metric": "score"} for run in runs])


@pytest.mark.parametrize("num_seeds", [2, 3])
@pytest.mark.parametrize("eval_size", [20, 100])
@pytest.mark.parametrize("metric", calibration.METRICS)
def test_a_metric_in_steps_makes_no_false_claims(metric, eval_size, num_seeds):
    result = calibration.shared_images(metric, studies=200, num_seeds=num_seeds, num_arms=5, eval_size=eval_size)
    assert result.false_share <= result.false_share_bound


@pytest.mark.parametrize(("scale", "digits"), [(1, 15), (100, 15), (1, 2), (100, 0), (1, 4)])
def test_equal_differences_do_not_depend_on_the_unit(scale, digits):
    def verdict(right):
        values = {arm: [round(scale * count / 100, digits) for count in counts] for arm, counts in right.items()}
        return compare([run | {"eval_size": 100} for run in records(**values)])[1].verdict

    assert verdict({"baseline": [95, 92], "mixup": [96, 93]}) == "inconclusive with 2 seeds"
    assert verdict({"baseline": [95, 92, 93], "mixup": [96, 93, 94]}) == "inconclusive with 3 seeds"
    # All runs of an arm agree: two values, far apart, say nothing of the step between them.
    assert verdict({"baseline": [51, 51, 51, 51], "mixup": [83, 83, 83, 83]}) == "helps"


@pytest.mark.parametrize("values", [0.0, 0.7, 1.0, 100.0, -0.2])
def test_runs_that_all_agree_show_nothing(values):
    assert compare(records(baseline=[values] * 3, same=[values] * 3))[1].verdict == "inconclusive with 3 seeds"


def test_a_loss_without_ties_keeps_its_power():
    noise = np.random.default_rng(0).normal(size=(2, 5))
    baseline = 0.4 + 0.02 * noise[0]
    runs = records(baseline=baseline, better=baseline - 0.05 + 0.01 * noise[1])
    more = {"metric": "val_loss", "eval_size": 100, "train_size": 50_000}
    assert compare([run | more for run in runs])[1].verdict == "helps"
