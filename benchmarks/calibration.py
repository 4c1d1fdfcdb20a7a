"""Counts how often a study of identical arms calls one better or worse, and how often its intervals hold zero.

``python -m benchmarks.calibration`` prints the table of docs/study.md. Every arm is the baseline under another name: of
the digits, the same net with its own first weights. A second table says what planned looks save: a baseline and five
arms, one of which has an effect of one standard deviation, beside the fixed design of equal power.
"""

import argparse

import torch

from tests.study import calibration, looks


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulated", type=int, default=10_000, help="simulated studies of each kind")
    parser.add_argument("--looks", type=int, default=2_000, help="simulated studies with planned looks")
    parser.add_argument("--digits", type=int, default=200, help="studies of the digits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| studies | seeds | arms | any false verdict | intervals that hold zero |\n|---|---|---|---|---|")
    kinds = [
        ("the model of the correction", calibration.model_of_the_correction, (3, 10), 4, options.simulated),
        ("classifiers on overlapping splits", calibration.overlapping_splits, (2, 3, 10), 3, options.simulated),
        ("the digits", calibration.digits, (3,), 2, options.digits),
    ]
    for name, make, seeds, num_arms, studies in kinds:
        for num_seeds in seeds:
            result = make(studies=studies, num_seeds=num_seeds, num_arms=num_arms)
            false = f"{100 * result.false_share:.1f}% ({result.false_verdicts} of {studies})"
            coverage = f"{100 * result.coverage:.1f}% ± {100 * result.coverage_error:.1f}"
            print(f"| {name} | {num_seeds} | {num_arms} | {false} | {coverage} |", flush=True)
    print("\n| planned looks | simulated |\n|---|---|")
    for name, figure in looks.figures(studies=options.looks).items():
        print(f"| {name} | {figure:.3g} |")


if __name__ == "__main__":
    main()
