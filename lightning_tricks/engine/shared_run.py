"""The base of every callback here, and of a family of callbacks that shares one run per fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import wraps
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from lightning.pytorch.utilities.exceptions import MisconfigurationException

_ENTRY = "lightning_tricks"  # of a checkpoint, with a section per family
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_FORWARDED = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_validation_start",
)


class _Given(dict[str, Any]):
    """The arguments of a callback; a copy of the callback shares them, so that it copies no teacher."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Given:
        return self


class Trick(pl.Callback):
    """A callback with a name, a full signature and a readable ``repr``; copies and pickles belong to no run."""

    _given: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Writes the base class's keywords into the signature, where ``__init__`` hands them on as ``**shared``."""
        super().__init_subclass__(**kwargs)
        init: Any = cls.__init__
        own = [] if init is object.__init__ else list(inspect.signature(init).parameters.values())[1:]
        variadic = [parameter.kind for parameter in own if parameter.kind in _VARIADIC]
        if _VARIADIC[1] in variadic:
            # A TypedDict has no defaults: without it, jsonargparse looks for the keywords in the base class.
            init.__annotations__.pop(own[-1].name, None)
            own = [parameter for parameter in own if parameter.kind not in _VARIADIC]
            names = {parameter.name for parameter in own}
            base = next(base for base in cls.__mro__[1:] if issubclass(base, Trick))
            inherited = [each for name, each in inspect.signature(base).parameters.items() if name not in names]
            if own or len(variadic) == 1:  # __init__(*args, **kwargs) passes positions on too
                inherited = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inherited]
            own += inherited
        cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Keeps the arguments for ``repr``."""
        self = super().__new__(cls)
        try:
            self._given = _Given(inspect.signature(cls).bind_partial(*args, **kwargs).arguments)
        except TypeError:  # __init__ says what is wrong
            self._given = _Given()
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
        trainer: the run's trainer.
        family: the callbacks of the family, in the order of the callback list; the first leads.
    """

    def __init__(self, trainer: pl.Trainer, family: Sequence[Any]) -> None:
        self.trainer = trainer
        self.family = family
        self.at_close = ExitStack()
        """Removes what single callbacks have installed for this run."""

    def state(self) -> dict[str, Any] | None:
        """Returns what a resumed run needs, in plain types; None if there is nothing yet."""
        return None

    def load(self, state: dict[str, Any] | None) -> None:
        """Takes over what :meth:`state` gave; None starts from nothing."""

    def close(self) -> None:
        """Removes what the run has installed."""


# By Trainer and section. A closed run leaves its state alone, since checkpoints are also saved after fit: the run
# itself would keep the module and, through it, the Trainer alive. A callback may serve another Trainer next.
_RUNS: WeakKeyDictionary[pl.Trainer, dict[str, Run]] = WeakKeyDictionary()
_LAST_STATES: WeakKeyDictionary[pl.Trainer, dict[str, Any]] = WeakKeyDictionary()


def run_of(trainer: pl.Trainer, section: str) -> Any:
    """Returns the run in progress of the family with this section of the checkpoint, or None."""
    return _RUNS.get(trainer, {}).get(section)


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
        return [each for each in callbacks if isinstance(each, SharedRun) and each.section == cls.section]

    @classmethod
    def run_of(cls, trainer: pl.Trainer) -> Any:
        """Returns this family's run in progress, or None."""
        return run_of(trainer, cls.section)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Makes the run, if this callback leads its family."""
        family = self.family_of(trainer)
        if stage != "fit" or not family or family[0] is not self:
            return
        members = {id(callback) for callback in family}
        if len(members) < len(family):
            names = [callback.name for callback in family]
            raise MisconfigurationException(
                f"{self.name} needs a list in which each callback stands once, but got {', '.join(names)} with one of "
                "them twice; make a second one."
            )
        for runs in list(_RUNS.values()):
            run = runs.get(self.section)
            if run is not None and (run.trainer is trainer or not members.isdisjoint(map(id, run.family))):
                if run.trainer is not trainer and run.trainer.state.status == TrainerStatus.RUNNING:
                    raise MisconfigurationException(
                        f"{next(each.name for each in run.family if id(each) in members)} needs a Trainer of its own, "
                        "but got a second one whose fit begins inside that of the first; give the inner Trainer a "
                        "copy (copy.deepcopy)."
                    )
                _close(run, self.section)  # a fit that ended badly has left it
        run = self.make_run(trainer, pl_module, family)
        _RUNS.setdefault(trainer, {})[self.section] = run
        # A second fit with the same Trainer goes on; another Trainer starts from nothing.
        run.load(_LAST_STATES.get(trainer, {}).get(self.section) if trainer.global_step else None)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Writes the family's section of the checkpoint."""
        run = self.run_of(trainer)
        state = _LAST_STATES.get(trainer, {}).get(self.section) if run is None else run.state()
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
            _close(run, self.section)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Closes the run; an error in its state would hide the exception and keep other callbacks from closing."""
        if (run := self.run_of(trainer)) is not None:
            with suppress(Exception):
                _close(run, self.section)

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


def _close(run: Run, section: str) -> None:
    """Closes a run and keeps its state for checkpoints that are saved after fit."""
    with run.at_close:
        try:
            _LAST_STATES.setdefault(run.trainer, {})[section] = run.state()
        finally:
            del _RUNS[run.trainer][section]
            run.close()
