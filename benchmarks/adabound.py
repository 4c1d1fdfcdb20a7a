"""Times AdaBound's step over the parameters of a ResNet-50 beside its peers.

``python -m benchmarks.adabound`` prints the median of each and the ratios that matter. All contenders take turns in one
process, in a new order each round. Where a machine is shared, only ratios mean something. The compiled step gets a new
value in its tensor lr each round, and the number of its graphs is counted: one means that no new lr recompiled it.
Compiling takes minutes on two cores; ``--no-compile`` leaves it out.
"""

import argparse
import warnings
from statistics import median

import adabound
import pytorch_optimizer
import torch
from torch._dynamo.utils import counters
from torchvision.models import resnet50

from benchmarks.machine import machine
from benchmarks.turns import times_in_turns
from lightning_tricks import AdaBound

LIMITS = [
    ("AdaBound, loop", "pytorch_optimizer, loop", 0.85),
    ("AdaBound, foreach", "pytorch_optimizer, foreach", 0.85),
    ("AdaBound, loop", "pytorch_optimizer, foreach", 0.85),  # the defaults of both on the CPU
    ("AdaBound, loop", "Adam, loop", 1.15),
    ("AdaBound, foreach", "Adam, foreach", 1.15),
    ("AdaBound, compiled", "Adam, fused", 1.3),
]


def parameters():
    made = [torch.nn.Parameter(p.detach().clone()) for p in resnet50().parameters()]
    for p in made:
        p.grad = 1e-3 * torch.randn_like(p)
    return made


def contenders(*, compile_step):
    """Returns each contender's step by name, and the tensor lr of the compiled one."""
    lr = torch.tensor(1e-3)
    steps = {
        "AdaBound, loop": AdaBound(parameters(), foreach=False).step,
        "AdaBound, foreach": AdaBound(parameters(), foreach=True).step,
        "authors' package": adabound.AdaBound(parameters()).step,
        "pytorch_optimizer, loop": pytorch_optimizer.AdaBound(parameters(), foreach=False).step,
        "pytorch_optimizer, foreach": pytorch_optimizer.AdaBound(parameters(), foreach=True).step,
        "Adam, loop": torch.optim.Adam(parameters(), foreach=False).step,
        "Adam, foreach": torch.optim.Adam(parameters(), foreach=True).step,
        "Adam, fused": torch.optim.Adam(parameters(), fused=True).step,
    }
    if compile_step:
        steps["AdaBound, compiled"] = torch.compile(AdaBound(parameters(), lr=lr).step)
    return steps, lr


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", message="This overload of")  # the authors' package

    print(f"{machine('pytorch_optimizer', 'adabound')}; medians of {args.rounds} interleaved rounds")
    steps, lr = contenders(compile_step=args.compile)
    times = times_in_turns(steps, args.rounds, untimed=2, before_round=lambda number: lr.fill_(1e-3 / (number + 1)))

    for name, seconds in times.items():
        print(f"{name:28} {1e3 * median(seconds):8.1f} ms")
    for ours, theirs, limit in LIMITS:
        if ours in times:
            ratio = median(a / b for a, b in zip(times[ours], times[theirs], strict=True))
            print(f"{ours} / {theirs}: {ratio:.2f} (at most {limit})")
    if args.compile:
        print(f"graphs: {counters['stats']['unique_graphs']}")


if __name__ == "__main__":
    main()
