"""The arms of a study, and the checks of what they are made of."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.functional.checks import check_choice

BASELINE = "baseline"
RECIPE = "recipe"
Question = Literal["screen", "recipe"]


@dataclass(frozen=True)
class Arm:
    """What one arm of a study does differently from the baseline.

    Everything comes from a function that is called for each run, since a callback may remember its last run.

    Attributes:
        callbacks: makes the arm's callbacks; ``None`` for none.
        module_factory: makes the arm's module where that differs (another optimizer, a mixin); ``None`` for the study's
            own. A study with an ``lr_grid`` calls it with ``lr=``.
        prepare: called before the module is made, as ``prepare(datamodule, seed)``; ``callbacks`` and
            ``module_factory`` then get what it returns as their first argument. This is where the teacher of a
            distillation is trained: the datamodule is set up for fit, of the run's own seed, and has neither validation
            nor test loaders, so that the teacher sees the training part alone. Its time and memory count as the arm's.

    Raises:
        TypeError: one of the three is not a function.

    Example:
        >>> from lightning_tricks import Mixup
        >>> arms = {"mixup": Arm(lambda: [Mixup()]), "strong mixup": Arm(lambda: [Mixup(alpha=1.0)])}
    """

    callbacks: Callable[..., Sequence[pl.Callback]] | None = None
    module_factory: Callable[..., pl.LightningModule] | None = None
    prepare: Callable[[pl.LightningDataModule, int], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("callbacks", "module_factory", "prepare"):
            if getattr(self, name) is not None:
                _check_factory("Arm", name, getattr(self, name))

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
                f"{owner} needs callbacks to make a list of callbacks, such as `lambda: [Mixup()]`, but it made {what}."
            )
        return list(made)


def arms_of(
    question: Question, arms: Mapping[str, Arm | Callable[[], Sequence[pl.Callback]]]
) -> dict[str, tuple[Arm, ...]]:
    """The arms that a study trains, in running order: each a name and the tricks that it joins."""
    check_choice("Ablation", "question", question, ("screen", "recipe"))
    tricks = _tricks_of(arms)
    if question == "screen":
        return {BASELINE: (), **{name: (trick,) for name, trick in tricks.items()}}
    if len(tricks) < 2:
        raise ValueError(f"Ablation needs at least two tricks for a recipe, but got {list(tricks)}.")
    if len(makers := [name for name, trick in tricks.items() if trick.module_factory is not None]) > 1:
        raise ValueError(
            "Ablation needs at most one arm of a recipe to bring a module factory, since a run has one module, but "
            f"got {makers}."
        )
    less = {
        f"{RECIPE} less {left_out}": tuple(trick for name, trick in tricks.items() if name != left_out)
        for left_out in tricks
    }
    return {BASELINE: (), RECIPE: tuple(tricks.values()), **less}


def references_of(question: Question, arms: Mapping[str, tuple[Arm, ...]]) -> dict[str, str]:
    """What each arm is compared with: a recipe less one trick with the recipe, all others with the baseline."""
    return {arm: RECIPE if question == "recipe" and arm != RECIPE else BASELINE for arm in arms if arm != BASELINE}


def check_rates(name: str, tricks: Sequence[Arm]) -> None:
    """Refuses an arm whose learning-rate tricks do not go together, before anything is trained."""
    owner = f"Ablation: arm {name!r}"
    # Callbacks made of what is prepared are not known yet.
    callbacks = [callback for trick in tricks if not trick.prepare for callback in trick.make_callbacks(owner=owner)]
    rates = [callback for callback in callbacks if isinstance(callback, LRTrick)]
    for rate in rates:
        try:
            rate.check_beside(rates)
        except MisconfigurationException as error:
            raise MisconfigurationException(f"Ablation: arm {name!r} cannot be trained: {error}") from error


def check_call(name: str, function: object, *positions: str, **arguments: Any) -> None:
    """Makes sure that a factory is a function and can be called as the study will call it."""
    _check_factory("Ablation", name, function)
    try:
        inspect.signature(cast(Callable[..., Any], function)).bind(*positions, **arguments)
    except TypeError as error:
        call = ", ".join([*positions, *(f"{argument}=" for argument in arguments)])
        raise TypeError(
            f"Ablation calls {name} as ({call}), but the one given does not take that ({error})."
        ) from error


def _tricks_of(arms: Mapping[str, Arm | Callable[[], Sequence[pl.Callback]]]) -> dict[str, Arm]:
    """The tricks by name; a function stands for an arm of the callbacks that it makes."""
    if not isinstance(arms, Mapping):
        raise TypeError(
            "Ablation needs arms to map names to arms, such as `{'mixup': lambda: [Mixup()]}`, but got "
            f"{type(arms).__name__}."
        )
    tricks: dict[str, Arm] = {}
    for name, arm in arms.items():
        if not isinstance(name, str):
            raise TypeError(f"Ablation needs the names of arms to be strings, but got {name!r}.")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"Ablation needs names of arms that can be written as UTF-8, but got {name!r}; rename it.")
        if not name.strip() or name == BASELINE:
            raise ValueError(
                f"Ablation needs names of arms that are neither empty nor {BASELINE!r}, but got {name!r}; rename it."
            )
        if not isinstance(arm, Arm) and not _is_factory(arm):
            raise TypeError(
                f"Ablation needs arm {name!r} to be an Arm or a function that makes callbacks, such as "
                f"`lambda: [Mixup()]`, but got {type(arm).__name__}."
            )
        tricks[name] = arm if isinstance(arm, Arm) else Arm(arm)
    if not tricks:
        raise ValueError("Ablation needs arms to hold at least one arm beside the baseline, but got none.")
    return tricks


def _is_factory(value: object) -> bool:
    """Whether this can be called to make something; modules and tricks can be called, but make nothing."""
    return callable(value) and not isinstance(value, nn.Module | pl.Callback)


def _check_factory(owner: str, name: str, function: object) -> None:
    if not _is_factory(function):
        raise TypeError(
            f"{owner} needs {name} to be a function, but got {type(function).__name__}; each run calls it for new "
            "ones, so give a class or a `lambda:`."
        )
