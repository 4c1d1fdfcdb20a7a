"""What a type checker has to say of a user's script: mypy reads this file, and nobody runs it."""

import lightning_tricks as lt


def names_that_are_loaded_later() -> None:
    print(lt.study.Ablation, lt.plots.plot_lr)
    lt.preview("Mixup", 0)  # type: ignore[arg-type]


def names_that_are_not_there() -> None:
    print(lt.Mixupp)  # type: ignore[attr-defined]


def shared_keywords() -> None:
    lt.Mixup(0.4, p=0.5, labels="sample", seed=3)
    lt.RandomErasing(0.25, start_epoch=1)
    lt.Mixup(p="often")  # type: ignore[arg-type]
    lt.Cutout(seed=0.5)  # type: ignore[arg-type]
    lt.CutMix(labels="hard")  # type: ignore[arg-type]
    lt.RICAP(probability=0.5)  # type: ignore[call-arg]
    lt.StepDecay(every_epochs="30")  # type: ignore[arg-type]
