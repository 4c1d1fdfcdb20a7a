"""Times batch tricks over batch sizes, resolutions and numbers of tricks.

``python -m benchmarks.growth`` prints three tables for whole callbacks outside a Trainer: draws, images and labels.
What is compared takes turns in one process; the figures are medians. A cost that grows as memory does shows in the
nanoseconds a pixel, which then stay the same once the fixed cost of a call no longer counts.
"""

import argparse
from functools import partial
from statistics import median

import torch

from benchmarks.machine import machine
from benchmarks.turns import times_in_turns
from lightning_tricks import RICAP, CutMix, Cutout, LabelSmoothing, Mixup, RandomErasing

TRICKS = {
    "one copy": lambda: lambda batch: (torch.empty_like(batch[0]).copy_(batch[0]), batch[1]),
    "Mixup": Mixup,
    "CutMix": CutMix,
    "RICAP": RICAP,
    "Cutout": lambda: Cutout(length=0.25),
    "RandomErasing": RandomErasing,
    "LabelSmoothing": LabelSmoothing,
}
COUNTS = (1, 2, 3, 4, 5)


def batch_of(n, size):
    return torch.rand(n, 3, size, size), torch.arange(n) % 10


def medians(calls, rounds):
    return {name: median(values) for name, values in times_in_turns(calls, rounds).items()}


def chain(tricks):
    def call(batch):
        for trick in tricks:
            batch = trick(batch)
        return batch

    return call


def by_size(title, batches, rounds):
    """Returns one row per trick and one column per batch: microseconds, and nanoseconds per pixel of the batch."""
    calls = {
        (name, column): partial(make(), batch) for column, batch in batches.items() for name, make in TRICKS.items()
    }
    took = medians(calls, rounds)
    print(f"\n{title}: µs (ns a pixel)\n  {'':<16}" + "".join(f"{column:>18}" for column in batches))
    for name in TRICKS:
        cells = [(took[name, column], images.numel() / images.shape[1]) for column, (images, _) in batches.items()]
        print(f"  {name:<16}" + "".join(f"{1e6 * t:>10.0f} ({1e9 * t / pixels:5.2f})" for t, pixels in cells))


def by_count(rounds):
    """Returns the time of the first tricks of the list together."""
    batch = batch_of(64, 32)
    makers = [TRICKS[name] for name in TRICKS if name != "one copy"]
    chains = {count: chain([make() for make in makers[:count]]) for count in COUNTS}
    took = medians({count: partial(call, batch) for count, call in chains.items()}, rounds)
    print("\nWith the number of tricks, 64×3×32×32: µs, µs a trick")
    for count in COUNTS:
        print(f"  {count}{1e6 * took[count]:>10.0f}{1e6 * took[count] / count:>10.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{machine()}; float32; medians of {rounds} interleaved rounds")
    by_size("With the batch, at 32 pixels", {f"N = {n}": batch_of(n, 32) for n in (8, 32, 128, 512)}, rounds)
    by_size(
        "With the resolution, N = 16", {f"{size}×{size}": batch_of(16, size) for size in (32, 64, 128, 224)}, rounds
    )
    by_count(rounds)


if __name__ == "__main__":
    main()
