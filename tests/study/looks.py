"""Simulated studies with planned looks, beside the fixed design of equal power."""

import numpy as np

from lightning_tricks.study.sequential import LOOKS, look, seeds_needed
from lightning_tricks.study.statistics import paired_t


def study(rng, *, num_arms, effects, looks=LOOKS, level=0.05):
    """One study: the arms that are called different, the trainings, and the seeds that each arm took.

    Training noise is one normal number per arm and seed, the baseline's shared: the standard deviation of a difference
    is one.
    """
    values = rng.normal(size=(num_arms + 1, looks[-1])) / np.sqrt(2)
    differences = values[1:] - values[0] + np.array([*effects, *[0.0] * (num_arms - len(effects))])[:, None]
    tests = {arm: [] for arm in range(num_arms)}
    now, seeds = list(tests), dict.fromkeys(tests, 0)
    for num_seeds in looks:
        for arm in now:
            tests[arm].append(paired_t(differences[arm, :num_seeds].tolist()))
            seeds[arm] = num_seeds
        seen = look(tests, looks=looks, level=level)
        now = seen.open
        if not now:
            break
    claimed = {arm for arm, p in seen.adjusted.items() if p <= level}
    return claimed, max(seeds.values()) + sum(seeds.values()), seeds


def figures(*, studies, num_arms=5, seed=0):
    """False claims without an effect, and power, seeds and trainings with one arm of one standard deviation."""
    rng = np.random.default_rng(seed)
    false = np.mean([bool(study(rng, num_arms=num_arms, effects=())[0]) for _ in range(studies)])
    real = [study(rng, num_arms=num_arms, effects=(1.0,)) for _ in range(studies)]
    power = np.mean([0 in claimed for claimed, _, _ in real])
    fixed = seeds_needed(1.0, 1.0, level=0.05 / num_arms, power=float(power))
    return {
        "false claims": float(false),
        "false claims beside a real effect": float(np.mean([bool(claimed - {0}) for claimed, _, _ in real])),
        "power": float(power),
        "seeds of the real arm": float(np.mean([seeds[0] for _, _, seeds in real])),
        "trainings": float(np.mean([trainings for _, trainings, _ in real])),
        "trainings of the fixed design": (num_arms + 1) * fixed,
    }
