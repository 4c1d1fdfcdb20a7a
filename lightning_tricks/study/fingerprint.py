"""What makes two studies the same study, in plain values."""

import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lightning_tricks.study.source import is_installed, is_module_installed, source_lines, used_globals

_ADDRESS = re.compile(r"( at)? 0x[0-9a-fA-F]+")
_EMPTY = types.CellType()  # of a variable that has no value yet
_MANY = 1000  # items
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def describe(value: object) -> Any:
    """Plain values that are equal for equal settings, in every process and under every version of Python.

    Numbers, strings and containers of them stay, and their types count. A tensor is the hash of its values, a module
    its structure and the hash of its state. A function is its source text, its defaults, what it closes over and the
    global names that it uses; a class is its members. Of an installed package functions and classes are their names:
    versions are no setting. Any other object is its class with the arguments of its constructor and its public
    attributes; one of a user's class all of its attributes.

    Args:
        value: anything.

    Returns:
        What ``json`` can write. A function that has no source text has ``"source": None``.

    Example:
        >>> describe({"devices": 1, "path": print})
        {'devices': 1, 'path': 'builtins.print'}
    """
    return _Description().of(value)


def arguments_of(value: object) -> dict[str, Any] | None:
    """The arguments of an object's constructor, read from the attributes of the same name, public or private.

    Args:
        value: an object that keeps what it was given, as callbacks do.

    Returns:
        Name to value, in the constructor's order; ``None`` if an argument is under neither name.

    Example:
        >>> from lightning_tricks import CosineDecay
        >>> arguments_of(CosineDecay(min_factor=0.1))["min_factor"]
        0.1
    """
    found: dict[str, Any] = {}
    state = _attributes(value)
    for kind in type(value).__mro__:
        if not isinstance(init := vars(kind).get("__init__"), types.FunctionType):
            continue
        variable = False
        for parameter in list(inspect.signature(init).parameters.values())[1:]:
            names = [name for name in (parameter.name, f"_{parameter.name}") if name in state]
            if parameter.kind in _VARIABLE:
                variable = True
                names += [name for name in state if name.endswith(f"_{parameter.name}")]  # such as _ddp_kwargs
            if names:
                found.setdefault(parameter.name, state[names[0]])
            elif parameter.kind not in _VARIABLE and parameter.name not in found:
                return None
        if not variable:  # nothing more is handed to a base class
            break
    return found


class _Description:
    """One description; a function, class or object that comes again is only named again."""

    def __init__(self) -> None:
        self._outer: list[object] = []  # what is being described, to be named if it holds itself
        self._seen: dict[str, list[object]] = {}

    def of(self, value: Any) -> Any:
        if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum)):
            return value.item() if isinstance(value, np.generic) else value
        if isinstance(value, Path):
            return str(value)
        if any(value is outer for outer in self._outer):
            return f"the same {type(value).__name__}"
        self._outer.append(value)
        try:
            return self._entered(value)
        finally:
            self._outer.pop()

    def _entered(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor | np.ndarray | np.generic):
            return _hashed(value)
        if isinstance(value, Mapping):
            return {str(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            items = [self.of(item) for item in value]
            return items if len(items) <= _MANY else {"items": len(items), "sha256": _digest(items)}
        if isinstance(value, set | frozenset):
            return sorted((self._apart(item) for item in value), key=json.dumps)
        if isinstance(value, functools.partial):
            return {"function": self.of(value.func), "args": self.of(value.args), "keywords": self.of(value.keywords)}
        if isinstance(value, types.MethodType):
            return {"function": self.of(value.__func__), "of": self.of(value.__self__)}
        if isinstance(value, types.ModuleType):
            return value.__name__
        if isinstance(value, enum.Enum):
            return f"{_name(type(value))}.{value.name}"
        name = _name(value if hasattr(value, "__qualname__") else type(value))
        seen = self._seen.setdefault(name, [])
        for number, earlier in enumerate(seen, 1):
            if value is earlier:
                return f"{name} {number}" if number > 1 else name
        seen.append(value)
        if isinstance(value, types.FunctionType):
            return self._function(value, name)
        if isinstance(value, type):
            return self._class(value, name)
        if isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            of = None if isinstance(value.__self__, types.ModuleType) else value.__self__
            return name if of is None else {"function": name, "of": self.of(of)}
        if hasattr(value, "__wrapped__"):
            return {"function": name, "wrapped": self.of(value.__wrapped__)}
        if hasattr(value, "__qualname__"):
            return name
        return self._module(value) if isinstance(value, nn.Module) else self._object(value)

    def _apart(self, value: Any) -> Any:
        """Described without what came before, as the order of a set's items is chance."""
        other = _Description()
        other._outer = list(self._outer)
        return other.of(value)

    def _function(self, value: types.FunctionType, name: str) -> Any:
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        closure = {name: self.of(cell.cell_contents) for name, cell in cells if cell != _EMPTY}
        if is_installed(value.__code__.co_filename):
            return {"function": name, "closure": closure} if closure else name
        details: dict[str, Any] = {
            "defaults": self.of(value.__defaults__ or ()),
            "keyword defaults": self.of(value.__kwdefaults__ or {}),
            "closure": closure,
            "attributes": self.of({name: item for name, item in vars(value).items() if name != "__wrapped__"}),
            "uses": {name: self.of(item) for name, item in used_globals(value).items()},
        }
        details = {name: item for name, item in details.items() if item}
        return {"function": name, "source": source_lines(value), **details}

    def _class(self, value: type, name: str) -> Any:
        if is_module_installed(value.__module__):
            return name
        members: dict[str, Any] = {}
        enumeration = issubclass(value, enum.Enum)
        for key, member in vars(value).items():
            member = member.func if isinstance(member, functools.cached_property) else member
            member = getattr(member, "__func__", member)
            if isinstance(member, types.FunctionType):
                if not key.startswith("__") or not _is_generated(value, member):
                    members[key] = self.of(member)
            elif isinstance(member, property):
                members[key] = self.of([member.fget, member.fset])
            elif not (enumeration or key.startswith("__") or key == "_abc_impl" or inspect.isdatadescriptor(member)):
                members[key] = self.of(member)
        if enumeration:
            members = {key: item for key, item in members.items() if not key.startswith("_")}
            members |= {item.name: self.of(item.value) for item in value}  # type: ignore[attr-defined]
        if dataclasses.is_dataclass(value):
            members["fields"] = {
                field.name: self.of([item for item in (field.default, field.default_factory) if item is not _MISSING])
                for field in dataclasses.fields(value)
            }
        return {"class": name, "bases": [self.of(base) for base in value.__bases__], "members": members}

    def _object(self, value: Any) -> Any:
        kind, attributes = type(value), _attributes(value)
        if not attributes or kind.__module__.partition(".")[0] in sys.stdlib_module_names - {"types", "argparse"}:
            text = _ADDRESS.sub("", repr(value))
            # "<…>" names a thing of the process: a lock, a logger, an open file.
            return self.of(kind) if text.startswith("<") else {"class": self.of(kind), "repr": text}
        if is_module_installed(kind.__module__) and (arguments := arguments_of(value)) is not None:
            public = {name: item for name, item in attributes.items() if not name.startswith("_")}
            attributes = {**arguments, **public}
        return {"class": self.of(kind), **{name: self.of(item) for name, item in attributes.items()}}

    def _module(self, value: nn.Module) -> Any:
        own = vars(nn.Module()).keys()  # torch's attributes, among them hooks, which are numbered in each process
        inside = {
            name: [self.of(type(part)), {key: self.of(item) for key, item in vars(part).items() if key not in own}]
            for name, part in value.named_modules()
        }
        state = {name: describe(item) for name, item in value.state_dict().items()}
        structure = _ADDRESS.sub("", str(value))
        return {"class": _name(type(value)), "structure": structure, "sha256": _digest([inside, state])}


_MISSING = dataclasses.MISSING


def _attributes(value: object) -> dict[str, Any]:
    """What an object holds, in ``__dict__`` and in slots."""
    slots = [name for kind in type(value).__mro__ for name in vars(kind).get("__slots__", ()) if hasattr(value, name)]
    return {name: getattr(value, name) for name in slots if not name.startswith("__")} | getattr(value, "__dict__", {})


def _hashed(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if nn.parameter.is_lazy(value) or value.is_meta:
            return _name(type(value))
        dense = value.detach().cpu().to_dense() if value.layout != torch.strided else value.detach().cpu()
        data = dense.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    else:
        value = np.asarray(value)
        data = value.tobytes() if value.dtype != object else _digest(describe(value.tolist())).encode()
    return {"dtype": str(value.dtype), "shape": list(value.shape), "sha256": hashlib.sha256(data).hexdigest()[:16]}


def _digest(description: Any) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def _is_generated(kind: type, function: types.FunctionType) -> bool:
    """Whether a special method follows from the fields of a dataclass, a named tuple or an enumeration."""
    if is_installed(function.__code__.co_filename):
        return True
    return (dataclasses.is_dataclass(kind) or issubclass(kind, tuple)) and source_lines(function) is None


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None) or 'builtins'}.{value.__qualname__}"
