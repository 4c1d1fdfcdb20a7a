"""What a metric's name and values say: its better direction, and its step."""

import re
from collections.abc import Sequence
from itertools import pairwise

_MAX = (
    "acc|accuracy|accuracies|ap|auc|auroc|auprc|aupr|correct|dice|f1|f2|fbeta|hit|iou|jaccard|kappa|map|mar|matthews|"
    "mcc|prec|precision|psnr|recall|sensitivity|specificity|ssim|tnr|tpr"
)
_MIN = (
    "bce|brier|ce|cer|crossentropy|distance|ece|eer|err|error|fid|fnr|fpr|hamming|kld?|logloss|loss|losses|lpips|mae|"
    "mape|misclassification|mse|msle|nll|perplexity|ppl|rmse|rmsle|smape|wer|wrong|xent"
)
_GLUED = "(?:val|valid|validation|test|eval|dev|avg|mean|macro|micro|m)?"
_WORDS = {mode: re.compile(rf"{_GLUED}(?:{words})s?\d*") for mode, words in (("max", _MAX), ("min", _MIN))}
# The metric is then something else than the word beside them.
_TURNED = re.compile(
    r"neg|negative|minus|inv|inverse|inverted|drop|gap|delta|diff|difference|change|no|non|not|without|free|std|variance"
)


def direction(owner: str, metric: str) -> str:
    """Returns ``"max"`` or ``"min"``, whichever the metric's name says is better.

    Raises:
        ValueError: the name says neither, or both.
    """
    chunks = re.findall(r"[^\W_]+", metric)
    # "mIoU" is one word and "valLoss" two, so both readings count.
    camel = [part for chunk in chunks for part in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+", chunk)]
    words = {word.lower() for word in (*chunks, *camel)}
    words |= {(first + second).lower() for first, second in pairwise(chunks)}
    said = {mode for mode, known in _WORDS.items() if any(known.fullmatch(word) for word in words)}
    if not said and any(re.fullmatch(r"top\d+", word) for word in words):
        said = {"max"}
    if any(_TURNED.fullmatch(word) for word in words) or re.search(r"(^|/)\s*1\s*[-−]", metric):
        said = set()
    if len(said) != 1:
        raise ValueError(
            f"{owner} needs mode to be given, for the name of metric {metric!r} does not say which values are better: "
            "pass mode='max' if larger ones are, mode='min' if smaller ones are."
        )
    return said.pop()


def metric_step(values: Sequence[float], eval_size: int) -> float:
    """The step that a metric moves in: above 0 unless all values are 0 or none is given.

    The smallest gap between two values is the step of an accuracy, an error or a rounded metric. With few values it can
    be many steps wide, so it counts for no more than one sample of all (of 1 or of 100 %) or the last digit. A macro
    average has no regular step; there the share of one sample in the largest value is the least.
    """
    largest = max(map(abs, values), default=0.0)
    noise = 1e-6 * largest  # of metrics in single precision
    one_sample = (1 if largest <= 1 else 100) / eval_size
    last_digit = next((10.0**-k for k in range(5) if all(abs(value - round(value, k)) <= noise for value in values)), 0)
    gaps = [high - low for low, high in pairwise(sorted(values)) if high - low > noise]
    return max(min([max(one_sample, last_digit), *gaps] if gaps else [one_sample]), largest / eval_size)
