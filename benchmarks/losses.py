"""Cross-entropy with a two-component SoftTarget beside hard labels and dense probabilities, forward and backward.

The calls are interleaved in one process, so that whatever else the machine does falls on all of them alike; the table
gives the median of each and its ratio to hard labels.

    python -m benchmarks.losses
"""

import statistics
import time

import torch
import torch.nn.functional as F

from benchmarks.machine import machine
from lightning_tricks import SoftTarget

ROUNDS = 300


def time_once(logits: torch.Tensor, target: torch.Tensor) -> float:
    logits.grad = None
    start = time.perf_counter()
    F.cross_entropy(logits, target).backward()
    return time.perf_counter() - start


def main() -> None:
    print(f"{machine()}; medians of {ROUNDS} interleaved rounds")
    print(f"{'logits':>12} {'target':>8} {'µs':>9} {'ratio':>6}")
    for n, num_classes in ((128, 1000), (1024, 1000)):
        logits = torch.randn(n, num_classes, requires_grad=True)
        hard, partner = torch.randint(num_classes, (2, n)).unbind(0)
        lam = torch.rand(n)
        soft = SoftTarget.mix([hard, partner], [lam, 1 - lam])
        targets = {"hard": hard, "soft": soft, "dense": soft.probabilities(num_classes)}
        times: dict[str, list[float]] = {name: [] for name in targets}
        for round_number in range(ROUNDS + 20):
            for name, target in targets.items():
                seconds = time_once(logits, target)
                if round_number >= 20:
                    times[name].append(seconds)
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, median in medians.items():
            print(f"{n:>7}×{num_classes} {name:>8} {median * 1e6:9.0f} {median / medians['hard']:6.2f}")


if __name__ == "__main__":
    main()
