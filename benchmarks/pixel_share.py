"""Measures whether the weight of each label is the share of its pixels: ours, torchvision, timm and kornia.

``python -m benchmarks.pixel_share`` prints a table and writes it to ``docs/pixel_share.md``, with
``docs/images/pixel_share.png``. Image i of a batch is 1 in channel i and 0 elsewhere, so that the mean of channel c is
the share that image c has in the result; label i is 252 + i, beyond what bfloat16 can count. Nothing of a library is
looked at but the images and the labels that it returns, the latter as its documentation says to use them.
"""

import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import kornia.augmentation as kornia_aug
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from timm.data.mixup import Mixup as TimmMixup
from torchvision.transforms import v2

from lightning_tricks import RICAP, CutMix, Mixup, Mosaic

DOCS = Path(__file__).parent.parent / "docs"
SIZE = (24, 40)
FIRST_LABEL, CLASSES = 252, 300
DRAWS = 100
CASES = {
    "float32, N = 8": (torch.float32, 8),
    "float32, N = 7": (torch.float32, 7),
    "bfloat16, N = 8": (torch.bfloat16, 8),
}
COLOURS = dict(zip(CASES, ("#0072b2", "#e69f00", "#009e73"), strict=True))  # Okabe and Ito's
MARKERS = dict(zip(CASES, "o^s", strict=True))
Mix = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def ours(trick) -> Mix:
    def mix(images, labels):
        mixed, target = trick((images, labels))
        return mixed, target.probabilities(CLASSES)

    return mix


def torchvision(transform) -> Mix:
    return transform(alpha=1.0, num_classes=CLASSES)


def timm(mode, *, cutmix) -> Mix:
    mix = TimmMixup(
        mixup_alpha=float(not cutmix),
        cutmix_alpha=float(cutmix),
        mode=mode,
        label_smoothing=0.0,
        num_classes=CLASSES,
    )
    return lambda images, labels: mix(images.clone(), labels)


def kornia(transform, *, lam_is_the_partners) -> Mix:
    def mix(images, labels):
        mixed, rows = transform(images, labels)
        own, partner, lam = rows.reshape(-1, 3).unbind(1)
        weight = 1 - lam if lam_is_the_partners else lam
        dense = weight[:, None] * F.one_hot(own.long(), CLASSES)
        return mixed, dense + (1 - weight)[:, None] * F.one_hot(partner.long(), CLASSES)

    return mix


def kornia_cutmix(*, lam_is_the_partners) -> Mix:
    transform = kornia_aug.RandomCutMixV2(data_keys=["input", "class"], use_correct_lambda=True)
    return kornia(transform, lam_is_the_partners=lam_is_the_partners)


CONTENDERS = {
    ("Mixup", "lightning_tricks"): lambda: ours(Mixup(alpha=1.0)),
    ("Mixup", "lightning_tricks, per sample"): lambda: ours(Mixup(alpha=1.0, per_sample=True)),
    ("Mixup", "torchvision"): lambda: torchvision(v2.MixUp),
    ("Mixup", "timm, batch"): lambda: timm("batch", cutmix=False),
    ("Mixup", "timm, elem"): lambda: timm("elem", cutmix=False),
    ("Mixup", "kornia"): lambda: kornia(
        kornia_aug.RandomMixUpV2(data_keys=["input", "class"]), lam_is_the_partners=True
    ),
    ("CutMix", "lightning_tricks"): lambda: ours(CutMix()),
    ("CutMix", "lightning_tricks, per sample"): lambda: ours(CutMix(per_sample=True)),
    ("CutMix", "torchvision"): lambda: torchvision(v2.CutMix),
    ("CutMix", "timm, batch"): lambda: timm("batch", cutmix=True),
    ("CutMix", "timm, elem"): lambda: timm("elem", cutmix=True),
    ("CutMix", "kornia"): lambda: kornia_cutmix(lam_is_the_partners=False),
    ("CutMix", "kornia, λ used as its MixUp's"): lambda: kornia_cutmix(lam_is_the_partners=True),
    ("RICAP", "lightning_tricks"): lambda: ours(RICAP()),
    ("Mosaic", "lightning_tricks"): lambda: ours(Mosaic()),
}


def shares_and_weights(mix, dtype, n):
    """Returns the pixel share and the label weight of every image in every mixed image, over many draws; both 1-d."""
    images = torch.eye(n, dtype=dtype).view(n, n, 1, 1).repeat(1, 1, *SIZE)
    labels = FIRST_LABEL + torch.arange(n)
    shares, weights = [], []
    for _ in range(DRAWS):
        mixed, dense = mix(images, labels)
        weight = dense.double()[:, FIRST_LABEL : FIRST_LABEL + n]
        shares.append(mixed.double().mean((2, 3)).flatten())
        weights.append(weight.flatten())
    shares, weights = torch.cat(shares), torch.cat(weights)
    if not ((shares > 0.05) & (shares < 0.95)).any():
        raise RuntimeError("nothing was mixed, so nothing was measured")
    return shares, weights


def measure():
    """Returns the shares and weights of each contender in each case, or its error message."""
    results = {}
    for contender, make in CONTENDERS.items():
        for case, (dtype, n) in CASES.items():
            torch.manual_seed(0)
            np.random.seed(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    results[contender, case] = shares_and_weights(make(), dtype, n)
                except AssertionError as refusal:
                    if "even" not in str(refusal):
                        raise
                    results[contender, case] = str(refusal)
    return results


def table(results):
    lines = [f"| trick | by | {' | '.join(CASES)} |", "|---" * (2 + len(CASES)) + "|"]
    for trick, by in CONTENDERS:
        cells = []
        for case in CASES:
            result = results[(trick, by), case]
            cells.append("refused (odd N)" if isinstance(result, str) else f"{(result[0] - result[1]).abs().max():.1e}")
        lines.append(f"| {trick} | {by} | {' | '.join(cells)} |")
    return "\n".join(lines)


def few(result, offset):
    """Returns weights and shares of some mixed samples, evenly over the weights, per case."""
    shares, weights = result
    mixed = torch.nonzero((weights > 0.01) & (weights < 0.99)).flatten()
    ranked = mixed[weights[mixed].argsort()]
    chosen = ranked[offset * len(ranked) // 45 :: max(len(ranked) // 15, 1)]
    return weights[chosen], shares[chosen]


def picture(results):
    columns = ("lightning_tricks", "torchvision", "timm, batch", "kornia")
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    grid = figure.subplots(2, len(columns), sharex=True, sharey=True)
    for axes_row, trick in zip(grid, ("Mixup", "CutMix"), strict=True):
        for axes, by in zip(axes_row, columns, strict=True):
            axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
            for offset, case in enumerate(CASES):
                result = results[(trick, by), case]
                if isinstance(result, str):
                    axes.text(0.5, 0.04, f"{case}: refused", ha="center", fontsize=8)
                    continue
                weights, shares = few(result, offset)
                style = {"color": COLOURS[case], "marker": MARKERS[case], "s": 14, "linewidths": 0.8}
                axes.scatter(weights, shares, facecolors="none", label=case, **(style | {"edgecolors": style["color"]}))
            if (trick, by) == ("CutMix", "kornia"):
                inverted = results[("CutMix", "kornia, λ used as its MixUp's"), "float32, N = 8"]
                axes.scatter(*few(inverted, 0), marker="x", s=14, color="#cc79a7", linewidths=0.8)
                axes.text(0.5, 0.98, "×: λ used\nas its MixUp's", ha="center", va="top", fontsize=8)
            axes.set_title(f"{trick}: {by}", fontsize=10)
            axes.set_aspect("equal")
    for axes in grid[:, 0]:
        axes.set_ylabel("share of the pixels")
    for axes in grid[1]:
        axes.set_xlabel("weight of the label")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(CASES), frameon=False)
    return figure


TEXT = """# Pixel share against label weight

After mixing, the weight of each label should be the share of the pixels that come from its image. Measured, not read
from the code: image i of a batch of {height} × {width} images is 1 in channel i and 0 elsewhere, so that the mean of
channel c is the share of image c; labels start at {first}, past the integers that bfloat16 holds. The table gives the
greatest |pixel share − label weight| over {draws} batches. In bfloat16 the pixels themselves are rounded, and so are
timm's weights per element.

{table}

All of this holds for one trick. Two tricks in one list that cut (CutMix, RICAP, Mosaic) multiply their weights, and the
later one may cover just what the earlier one has put in: then weight and share can differ by up to 0.9. A warning says
so; `RandomChoice` takes one of them per batch.

kornia documents λ as the partner's weight for its MixUp and as the original's for its CutMix (with
`use_correct_lambda=True`): a loss written for the one is wrong for the other, as the row with the large numbers shows.

![](images/pixel_share.png)

Made by `python -m benchmarks.pixel_share` with {versions}.
"""


def main():
    torch.set_num_threads(1)  # the images are small
    results = measure()
    rows = table(results)
    print(rows)
    names = ("torch", "torchvision", "timm", "kornia")
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])
    height, width = SIZE
    text = TEXT.format(height=height, width=width, first=FIRST_LABEL, draws=DRAWS, table=rows, versions=versions)
    (DOCS / "pixel_share.md").write_text(text)
    picture(results).savefig(DOCS / "images" / "pixel_share.png", dpi=110)


if __name__ == "__main__":
    main()
