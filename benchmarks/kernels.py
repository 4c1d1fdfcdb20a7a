"""Times every image kernel against the other implementations and against one copy of the batch.

``python -m benchmarks.kernels`` prints a table and writes ``benchmarks/kernels.csv``. All contenders of a kernel take
turns in one process, in a new order each round, and draw their parameters inside the timed call; the table gives
medians. Traffic and peak memory (what is held at most beside the batch) are counted, in bytes of the batch. Where a
machine is shared, only ratios mean something.
"""

import argparse
import csv
import gc
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torchvision.transforms import v2

from benchmarks import peers
from benchmarks.machine import machine
from benchmarks.turns import times_in_turns
from lightning_tricks import functional as tricks
from tests.peak_memory import peak_memory_of
from tests.traffic import traffic_of

SHAPES = [(128, 3, 224, 224), (512, 3, 32, 32)]
COLUMNS = ["shape", "kernel", "by", "ms", "over_fastest_peer", "over_copy", "traffic", "peak_memory"]
ROW = "{:<16} {:<18} {:<26} {:>8} {:>18} {:>10} {:>9} {:>12}"
PACKAGES = ("torchvision", "timm", "kornia", "numpy")
OURS, COPY = "lightning_tricks", "empty_like(x).copy_(x)"


def ours(name, x):
    """One of our kernels with its draws, as its callback makes them."""
    rng = np.random.default_rng(0)
    n, size = len(x), tuple(x.shape[-2:])
    height, width = size

    def mixup(count=None):
        return tricks.mixup(x, lam=rng.beta(1, 1, count), shift=rng.integers(1, n))

    def cutmix(count=None):
        center = rng.integers(size, size=None if count is None else (count, 2))
        box, _ = tricks.cutmix_box(1 - rng.beta(1, 1, count), center=center, size=size)
        return tricks.cutmix(x, box=box, shift=rng.integers(1, n))

    def ricap():
        h, w = np.rint(size * rng.beta(0.3, 0.3, 2)).astype(int)
        free = np.array([(height - h, width - w), (height - h, w), (h, width - w), (h, w)])
        return tricks.ricap(x, boundary=(h, w), offsets=rng.integers(free + 1), shifts=rng.integers(n, size=4))

    def mosaic():
        return tricks.mosaic(x, center=(size * rng.uniform(0.25, 0.75, 2)).astype(int), shifts=rng.integers(n, size=4))

    def cutout():
        boxes = tricks.cutout_boxes(rng.integers(size, size=(n, 1, 2)), length=peers.CUTOUT_LENGTH, size=size)
        return tricks.cutout(x, boxes=boxes)

    def erasing():
        boxes = tricks.random_erasing_boxes(rng, n=n, size=size, scale=peers.AREAS, ratio=peers.RATIOS)
        boxes[rng.random(n) >= 0.5] = 0
        return tricks.random_erasing(x, boxes=boxes)

    return {
        "mixup": mixup,
        "mixup per sample": lambda: mixup(n),
        "cutmix": cutmix,
        "cutmix per sample": lambda: cutmix(n),
        "ricap": ricap,
        "mosaic": mosaic,
        "cutout": cutout,
        "random_erasing": erasing,
    }[name]


def theirs(name, x):
    cutmix = name.startswith("cutmix")
    if name in ("mixup", "cutmix"):
        return {
            "torchvision": peers.torchvision_mix(v2.CutMix if cutmix else v2.MixUp, x),
            "timm on a clone": peers.timm_mix(x, mode="batch", cutmix=cutmix),
            "kornia": peers.kornia_mix(x, same_on_batch=True, cutmix=cutmix),
        }
    if name.endswith("per sample"):
        return {
            "timm on a clone": peers.timm_mix(x, mode="elem", cutmix=cutmix),
            "kornia": peers.kornia_mix(x, same_on_batch=False, cutmix=cutmix),
        }
    return {
        "ricap": {"published loop": peers.published_ricap(x)},
        "mosaic": {"plain interpolate and cat": peers.plain_mosaic(x), "kornia (crops)": peers.kornia_mosaic(x)},
        "cutout": {"published loop": peers.published_cutout(x)},
        "random_erasing": {
            "torchvision": peers.torchvision_erasing(x),
            "timm on a clone": peers.timm_erasing(x),
            "kornia": peers.kornia_erasing(x),
        },
    }[name]


KERNELS = [
    "mixup",
    "mixup per sample",
    "cutmix",
    "cutmix per sample",
    "ricap",
    "mosaic",
    "cutout",
    "random_erasing",
]


def median_count(count, call, nbytes):
    """Returns counted bytes / bytes of the batch: the median, since some kernels draw boxes of random size."""
    return f"{median(count(call) / nbytes for _ in range(25)):.2f} N"


def contenders_of(name, x):
    return {OURS: ours(name, x), **theirs(name, x), COPY: lambda: torch.empty_like(x).copy_(x)}


def benchmark(name, x, rounds):
    times = times_in_turns(contenders_of(name, x), rounds, untimed=2, device=x.device)
    took = {by: median(values) for by, values in times.items()}
    fastest = min(seconds for by, seconds in took.items() if by not in (OURS, COPY))
    few = x[:16]  # the ratio is that of the whole batch
    for by, call in contenders_of(name, few).items():
        yield {
            "shape": "×".join(map(str, x.shape)),
            "kernel": name,
            "by": by,
            "ms": f"{1e3 * took[by]:.2f}",
            "over_fastest_peer": f"{took[by] / fastest:.2f}",
            "over_copy": f"{took[by] / took[COPY]:.2f}",
            "traffic": median_count(traffic_of, call, few.nbytes),
            "peak_memory": median_count(peak_memory_of, call, few.nbytes),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="timed calls of each contender")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; fewer than the cores where they are shared")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--csv", type=Path, default=Path(__file__).with_suffix(".csv"))
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    np.random.seed(0)
    torch.manual_seed(0)

    measured_on = machine(*PACKAGES, device=device)
    print(measured_on)
    print(ROW.format(*COLUMNS))
    with arguments.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COLUMNS, "machine"])
        writer.writeheader()
        for shape in SHAPES:
            x = torch.randn(shape, device=device)
            for name in KERNELS:
                gc.collect()
                for row in benchmark(name, x, arguments.rounds):
                    print(ROW.format(*row.values()), flush=True)
                    writer.writerow(row | {"machine": measured_on})


if __name__ == "__main__":
    main()
