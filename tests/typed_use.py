"""What a type checker has to say of a user's script: mypy reads this file, and nobody runs it."""

import lightning_tricks as lt


def names_that_are_loaded_later() -> None:
    print(lt.study.Ablation, lt.plots.plot_lr)
    lt.preview("Mixup", 0)  # type: ignore[arg-type]


def names_that_are_not_there() -> None:
    print(lt.Mixupp)  # type: ignore[attr-defined]
