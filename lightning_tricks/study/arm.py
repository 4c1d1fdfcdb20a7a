"""What an arm of a study is, and which arms answer which question."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.study.arguments import check_factory, is_factory
from lightning_tricks.study.difference import settled
from lightning_tricks.study.fingerprint import describe
from lightning_tricks.study.isolation import seed_global_generators

BASELINE = "baseline"
RECIPE = "recipe"


@dataclass(frozen=True)
class Arm:
    """What one arm of a study does differently from the baseline.

    Everything comes from a function, called anew for each run, since a callback may remember its last run.

    Attributes:
        callbacks: makes the arm's callbacks; ``None`` for none.
        module_factory: makes the arm's module where that differs (another optimizer, a mixin); ``None`` for the study's
            own. A study with an ``lr_grid`` calls it with ``lr=``.
        prepare: called before the module is made, as ``prepare(datamodule, seed)``; ``callbacks`` and
            ``module_factory`` then get what it returns as their first argument. This is where the teacher of a
            distillation is trained: the datamodule is set up for fit, of the run's own seed, and has neither validation
            nor test loaders, so that the teacher sees the training part alone. Its time and memory count as the arm's.

    Example:
        >>> from lightning_tricks import Mixup
        >>> arms = {"mixup": Arm(lambda: [Mixup()]), "strong mixup": Arm(lambda: [Mixup(alpha=1.0)])}
    """

    callbacks: Callable[..., Sequence[pl.Callback]] | None = None
    module_factory: Callable[..., pl.LightningModule] | None = None
    prepare: Callable[[pl.LightningDataModule, int], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("callbacks", "module_factory", "prepare"):
            value = getattr(self, name)
            if value is not None:
                check_factory("Arm", name, value)

    def make_callbacks(self, *prepared: Any, owner: str = "Arm") -> list[pl.Callback]:
        """Makes the callbacks of one run.

        Args:
            *prepared: what ``prepare`` has returned, if there is one.
            owner: whose they are, for the message.

        Raises:
            TypeError: ``callbacks`` makes no list of callbacks.
        """
        if self.callbacks is None:
            return []
        made = self.callbacks(*prepared)
        if not isinstance(made, Sequence) or not all(isinstance(callback, pl.Callback) for callback in made):
            what = [type(each).__name__ for each in made] if isinstance(made, list | tuple) else type(made).__name__
            raise TypeError(
                f"{owner}: expected `callbacks` to make a list of callbacks, such as `lambda: [Mixup()]`, but it made "
                f"{what}."
            )
        return list(made)


def arms_of(question: str, arms: Mapping[str, Arm | Callable[[], Sequence[pl.Callback]]]) -> dict[str, tuple[Arm, ...]]:
    """The arms that a study trains: each a name and the tricks that it joins.

    Args:
        question: ``"screen"``: the baseline, and each trick alone; ``"recipe"``: the baseline, the whole recipe, and
            the recipe less one trick at a time.
        arms: the tricks by name; a function stands for an :class:`Arm` of the callbacks that it makes.

    Returns:
        The arms in running order.

    Raises:
        TypeError: if ``arms`` is no mapping, an arm is neither an :class:`Arm` nor a function, or a name is no string.
        ValueError: for another question, no arm, a name that is empty, ``"baseline"`` or no UTF-8, a recipe of fewer
            than two tricks, or one in which two tricks bring a module factory.
    """
    if not isinstance(arms, Mapping):
        raise TypeError(
            f"Ablation: expected `arms` to map names to arms, such as `{{'mixup': lambda: [Mixup()]}}`, but got "
            f"{type(arms).__name__}."
        )
    tricks: dict[str, Arm] = {}
    for name, arm in arms.items():
        if not isinstance(name, str):
            raise TypeError(f"Ablation: expected the names of arms to be strings, but got {name!r}.")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"Ablation needs names of arms that can be written as UTF-8, but got {name!r}; rename it.")
        if not name.strip() or name == BASELINE:
            raise ValueError(f"Ablation: {name!r} cannot be the name of an arm; {BASELINE!r} is what they differ from.")
        if isinstance(arm, Arm):
            tricks[name] = arm
        elif is_factory(arm):
            tricks[name] = Arm(arm)
        else:
            raise TypeError(
                f"Ablation: expected arm {name!r} to be an Arm or a function that makes callbacks, such as "
                f"`lambda: [Mixup()]`, but got {type(arm).__name__}."
            )
    if question == "screen":
        if not tricks:
            raise ValueError("Ablation: expected `arms` to hold at least one arm beside the baseline, but got none.")
        return {BASELINE: (), **{name: (trick,) for name, trick in tricks.items()}}
    if question != "recipe":
        raise ValueError(f"Ablation: expected `question` to be 'screen' or 'recipe', but got {question!r}.")
    if len(tricks) < 2:
        raise ValueError(f"Ablation: a recipe needs at least two tricks, but got {list(tricks)}.")
    if len(makers := [name for name, trick in tricks.items() if trick.module_factory is not None]) > 1:
        raise ValueError(f"Ablation: a run has one module, but {makers} each bring a module factory of their own.")
    less = {
        f"{RECIPE} less {left_out}": tuple(trick for name, trick in tricks.items() if name != left_out)
        for left_out in tricks
    }
    return {BASELINE: (), RECIPE: tuple(tricks.values()), **less}


def references_of(question: str, arms: Mapping[str, tuple[Arm, ...]]) -> dict[str, str]:
    """What each arm is compared with: a recipe less one trick with the recipe, all others with the baseline.

    Args:
        question: ``"screen"`` or ``"recipe"``.
        arms: what :func:`arms_of` gives.

    Returns:
        Arm to arm, without the baseline.
    """
    return {arm: RECIPE if question == "recipe" and arm != RECIPE else BASELINE for arm in arms if arm != BASELINE}


def check_rates(name: str, tricks: Sequence[Arm]) -> None:
    """Refuses an arm whose learning-rate tricks do not go together, before anything is trained.

    Args:
        name: of the arm.
        tricks: that it joins; callbacks made of what is prepared are not known yet.

    Raises:
        TypeError: an arm's ``callbacks`` makes no list of callbacks.
        MisconfigurationException: they do not; it says which and why.
    """
    owner = f"Ablation: arm {name!r}"
    callbacks = [callback for trick in tricks if not trick.prepare for callback in trick.make_callbacks(owner=owner)]
    rates = [callback for callback in callbacks if isinstance(callback, LRTrick)]
    for rate in rates:
        try:
            rate.check_beside(rates)
        except MisconfigurationException as error:
            raise MisconfigurationException(f"Ablation: arm {name!r} cannot be trained: {error}") from error


def describe_arm(trick: Arm) -> dict[str, Any]:
    """Plain values that are equal for equal arms; see :func:`~lightning_tricks.study.fingerprint.describe`."""
    described: dict[str, Any] = {}
    # What a function of the prepared makes is not known before the run.
    if trick.callbacks is not None and trick.prepare is None:
        made = []
        for _ in range(2):
            seed_global_generators(0)  # a teacher that is made here is the same in each process
            made.append(describe(trick.make_callbacks()))
        described["made"] = settled(*made)
    functions = {"callbacks": trick.callbacks, "module_factory": trick.module_factory, "prepare": trick.prepare}
    return described | {name: describe(value) for name, value in functions.items() if value is not None}
