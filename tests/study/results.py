"""Results of studies that nobody ran."""

import math

from lightning_tricks.study import StudyResult

LONG = "no weight decay on biases and normalisation parameters"


def record(arm, seed, value, **more):
    measured = {"metric": "val_acc", "value": value, "diverged": False, "lr": None, "seconds": 2.5, "peak_memory": 7e8}
    return {"arm": arm, "seed": seed, **measured, "train_size": 1077, "eval_size": 360, **more}


def result(*, num_seeds=10, margin=0.01, part="validation", mode="max", arms=None, **kwargs):
    """One arm for each verdict, and one that diverged once."""
    shifts = {"baseline": 0.0, "mixup": 0.03, LONG: -0.04, "cosine decay": 0.0004, "cutmix": 0.0, "adabound": 0.0}
    shifts = {name: shifts[name] for name in arms or shifts}
    records = []
    for seed in range(num_seeds):
        for arm, shift in shifts.items():
            wobble = 0.02 * math.sin(5 * seed) if arm == "cutmix" else 0.002 * math.sin(7 * seed + len(arm))
            value = 0.95 + 0.01 * math.sin(seed) + shift + (0 if arm == "baseline" else wobble)
            records.append(record(arm, seed, value))
            if arm == "adabound" and seed == 1:
                records[-1] |= {"value": math.nan, "diverged": True}
    settings = {"question": "screen", "num_seeds": num_seeds, "metric": "val_acc", "arms": {"mixup": [{"alpha": 0.2}]}}
    references = dict.fromkeys([name for name in shifts if name != "baseline"], "baseline")
    fields = {"records": records, "missing": [], "settings": settings, "references": references, "confidence": 0.95}
    return StudyResult(part=part, mode=mode, margin=margin, **(fields | kwargs))
