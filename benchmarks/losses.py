"""Times cross-entropy with a two-component SoftTarget, hard labels and dense probabilities, forward and backward.

The calls take turns in one process; the table gives the median of each and its ratio to hard labels. Whether malloc
returns blocks of 4 MB to the kernel after each call moves the larger shape by a factor of two; docs/costs.md has the
variables that keep it from doing so.

    python -m benchmarks.losses
"""

import statistics
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.machine import machine
from benchmarks.turns import times_in_turns
from lightning_tricks import SoftTarget

ROUNDS = 1000


def forward_and_backward(logits, target):
    logits.grad = None
    F.cross_entropy(logits, target).backward()


def main() -> None:
    print(f"{machine()}; medians of {ROUNDS} interleaved rounds")
    print(f"{'logits':>12} {'target':>8} {'µs':>9} {'ratio':>6}")
    for n, num_classes in ((128, 1000), (1024, 1000)):
        logits = torch.randn(n, num_classes, requires_grad=True)
        hard, partner = torch.randint(num_classes, (2, n)).unbind(0)
        lam = torch.rand(n)
        soft = SoftTarget.mix([hard, partner], [lam, 1 - lam])
        targets = {"hard": hard, "soft": soft, "dense": soft.probabilities(num_classes)}
        calls = {name: partial(forward_and_backward, logits, target) for name, target in targets.items()}
        times = times_in_turns(calls, ROUNDS, untimed=20)
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, median in medians.items():
            print(f"{n:>7}×{num_classes} {name:>8} {median * 1e6:9.0f} {median / medians['hard']:6.2f}")


if __name__ == "__main__":
    main()
