"""Checks of what a study is made of; each message says what is needed and what came."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import lightning.pytorch as pl
from torch import nn

from lightning_tricks.functional.checks import check_number


def check_trainer_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of the options of each Trainer.

    Raises:
        ValueError: they hold what a study has a place of its own for.
    """
    if taken := sorted({"callbacks", "max_epochs"} & options.keys()):
        raise ValueError(
            f"Ablation: `trainer_options` holds {taken}; callbacks belong to the arms, epochs to `max_epochs`."
        )
    return dict(options)


def check_grid(lr_grid: Sequence[float]) -> list[float]:
    """Returns the learning rates as floats.

    Raises:
        TypeError: one is not a number.
        ValueError: one is not above 0, or there are not two different ones.
    """
    grid = [check_number("Ablation", "lr_grid", lr, above=0) for lr in lr_grid]
    if len(set(grid)) < max(2, len(grid)):
        raise ValueError(f"Ablation: expected `lr_grid` to have two or more different rates, but got {grid}.")
    return grid


def is_factory(value: object) -> bool:
    """Whether this can be called to make something; modules and tricks can be called, but make nothing new."""
    return callable(value) and not isinstance(value, nn.Module | pl.Callback)


def check_factory(owner: str, name: str, function: object) -> None:
    """Makes sure that something is a function, and not what the function is to make.

    Args:
        owner: who asks, for the message.
        name: of the factory, for the message.
        function: the factory.

    Raises:
        TypeError: it is none.
    """
    if not is_factory(function):
        raise TypeError(
            f"{owner}: expected `{name}` to be a function, but got {type(function).__name__}; each run calls it for "
            "new ones, so give a class or a `lambda:`."
        )


def check_call(name: str, function: object, *positions: str, **arguments: Any) -> None:
    """Makes sure that a factory can be called as the study will call it.

    Args:
        name: of the factory, for the message.
        function: the factory.
        positions: a word for each argument by position.
        arguments: examples of the arguments by name.

    Raises:
        TypeError: it is no function, or does not take these.
    """
    check_factory("Ablation", name, function)
    try:
        inspect.signature(cast(Callable[..., Any], function)).bind(*positions, **arguments)
    except TypeError as error:
        call = ", ".join([*positions, *(f"{argument}=" for argument in arguments)])
        raise TypeError(
            f"Ablation calls {name} as ({call}), but the one given does not take that ({error})."
        ) from error
