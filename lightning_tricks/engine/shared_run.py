"""The base of every callback here, and of a family of callbacks that shares one run per fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from lightning.pytorch.utilities.exceptions import MisconfigurationException

_ENTRY = "lightning_tricks"  # of a checkpoint, with a section per family
_FORWARDED = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_validation_start",
)


class Trick(pl.Callback):
    """A callback with a name, a full signature and a readable ``repr``; copies and pickles belong to no run."""

    _given: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Writes the base class's keywords into the signature, where ``__init__`` hands them on as ``**shared``."""
        super().__init_subclass__(**kwargs)
        init: Any = cls.__init__
        own = [] if init is object.__init__ else list(inspect.signature(init).parameters.values())[1:]
        if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
            names = {parameter.name for parameter in own}
            inherited = inspect.signature(cls.__mro__[1]).parameters.values()
            # A TypedDict has no defaults: without it, jsonargparse looks for the keywords in the base class.
            init.__annotations__.pop(own[-1].name, None)
            own[-1:] = [parameter for parameter in inherited if parameter.name not in names]
        cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Keeps the arguments for ``repr``."""
        self = super().__new__(cls)
        try:
            self._given = inspect.signature(cls).bind_partial(*args, **kwargs).arguments
        except TypeError:  # __init__ says what is wrong
            self._given = {}
        return self

    @property
    def name(self) -> str:
        """The class name, as messages and draws use it."""
        return type(self).__name__

    def arguments(self) -> dict[str, Any]:
        """Returns what the constructor was given, and its defaults; what has been set since counts."""
        values = {}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = vars(self).get(name, self._given.get(name, parameter.default))
            if value is not inspect.Parameter.empty:
                values[name] = value
        return values

    def __repr__(self) -> str:
        """The class with its first argument, and with those that differ from their defaults."""
        parameters = inspect.signature(type(self)).parameters
        shown = [
            f"{name}={_brief(value)}"
            for index, (name, value) in enumerate(self.arguments().items())
            if (index == 0 or repr(value) != repr(parameters[name].default))
            # A None that was not given: another argument has taken the place of this one's default.
            and (value is not None or parameters[name].default is None or self._given.get(name, 0) is None)
        ]
        return f"{self.name}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        # Lightning sets these two on callbacks; they would bring the module along.
        return {name: value for name, value in vars(self).items() if name not in ("log", "log_dict")}


def _brief(value: Any) -> str:
    """``repr``, but only the name of what prints as several lines or with its address."""
    if type(value) in (list, tuple):
        parts = ", ".join(map(_brief, value))
        return f"[{parts}]" if isinstance(value, list) else f"({parts}{',' * (len(value) == 1)})"
    text = repr(value)
    if "\n" not in text and " at 0x" not in text:
        return text
    return getattr(value, "__name__", None) or f"{type(value).__name__}(...)"


class Run(pl.Callback):
    """What a family of callbacks shares during one fit; each hook is called once for the whole family.

    Args:
        trainer: the run's trainer; None once the run is closed.
        family: the callbacks of the family, in the order of the callback list; the first leads.
    """

    def __init__(self, trainer: pl.Trainer, family: Sequence[Any]) -> None:
        self.trainer: pl.Trainer | None = trainer
        self.family = family
        self.last_state: dict[str, Any] | None = None
        self.at_close: list[Callable[[], None]] = []
        """Removes what single callbacks have installed for this run."""

    def state(self) -> dict[str, Any] | None:
        """Returns what a resumed run needs, in plain types; None if there is nothing yet."""
        return None

    def load(self, state: dict[str, Any] | None) -> None:
        """Takes over what :meth:`state` gave; None starts from nothing."""

    def close(self) -> None:
        """Removes what the run has installed."""


# The last run of each family. It outlives fit, since checkpoints are also saved afterwards; and it belongs to the
# Trainer rather than to a callback, which may serve another Trainer next.
_RUNS: WeakKeyDictionary[pl.Trainer, dict[str, Run]] = WeakKeyDictionary()


class SharedRun(Trick):
    """The base of a family of callbacks: the first of them in ``trainer.callbacks`` leads a run that all share.

    A family is a class with a ``section`` and a :meth:`make_run`; its callbacks are those with the same section.
    """

    section: ClassVar[str]
    """The family's section of the checkpoint."""

    def make_run(self, trainer: pl.Trainer, pl_module: pl.LightningModule, family: Sequence[Any]) -> Run:
        """Returns the run of one fit; ``family`` begins with this callback."""
        raise NotImplementedError

    @classmethod
    def family_of(cls, trainer: pl.Trainer) -> list[Any]:
        """Returns the callbacks of this family, in the order of the callback list."""
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        return [callback for callback in callbacks if getattr(callback, "section", None) == cls.section]

    @classmethod
    def run_of(cls, trainer: pl.Trainer) -> Any:
        """Returns this family's run in progress, or None."""
        run = _RUNS.get(trainer, {}).get(cls.section)
        return run if run is not None and run.trainer is not None else None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Makes the run, if this callback leads its family."""
        family = self.family_of(trainer)
        if stage != "fit" or self not in family[:1]:
            return
        for runs in list(_RUNS.values()):
            run = runs.get(self.section)
            if run is None or run.trainer is None:
                continue
            for callback in family:
                if any(callback is member for member in run.family):
                    _refuse_second_trainer(callback.name, run, trainer)
                    _close(run)
                    break
        previous = _RUNS.setdefault(trainer, {}).get(self.section)
        run = _RUNS[trainer][self.section] = self.make_run(trainer, pl_module, family)
        # A second fit with the same Trainer goes on; another Trainer starts from nothing.
        run.load(previous.last_state if previous is not None and trainer.global_step else None)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Writes the family's section of the checkpoint."""
        run = _RUNS.get(trainer, {}).get(self.section)
        state = None if run is None else run.state() if run.trainer is not None else run.last_state
        if state is not None:
            checkpoint.setdefault(_ENTRY, {})[self.section] = state

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Reads the family's section; a validation restores nothing of a run."""
        if (run := self._led(trainer)) is not None and trainer.state.fn == TrainerFn.FITTING:
            run.load(checkpoint.get(_ENTRY, {}).get(self.section))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Closes the run."""
        if (run := self.run_of(trainer)) is not None:
            _close(run)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Closes the run."""
        if (run := self.run_of(trainer)) is not None:
            _close(run)

    def _led(self, trainer: pl.Trainer) -> Run | None:
        """The run in progress, if this callback leads it."""
        run: Run | None = self.run_of(trainer)
        return run if run is not None and run.family[0] is self else None


def _forwarded(name: str) -> Callable[..., None]:
    """A hook that the leader hands to its run."""

    @wraps(getattr(pl.Callback, name))
    def hook(self: SharedRun, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if (run := self._led(trainer)) is not None:
            getattr(run, name)(trainer, *args, **kwargs)

    return hook


for _name in _FORWARDED:
    setattr(SharedRun, _name, _forwarded(_name))


def _refuse_second_trainer(name: str, run: Run, trainer: pl.Trainer) -> None:
    """Refuses a callback to a Trainer that is set up while another one trains with it."""
    if run.trainer is not None and run.trainer is not trainer and run.trainer.state.status == TrainerStatus.RUNNING:
        raise MisconfigurationException(
            f"{name} needs a Trainer of its own, but got a second one whose fit begins inside that of "
            "the first; give the inner Trainer a copy (copy.deepcopy)."
        )


def _close(run: Run) -> None:
    """Closes a run and keeps its state for checkpoints that are saved after fit."""
    run.last_state = run.state()
    run.close()
    while run.at_close:  # the last first, as patches lie upon each other
        run.at_close.pop()()
    run.trainer = None
