"""What makes two studies the same study, in plain values."""

import ast
import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import linecache
import re
import sys
import sysconfig
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lightning_tricks.engine.shared_run import Trick

_INSTALLED = (Path(sysconfig.get_paths()["stdlib"]), Path(__file__).parents[1])
_ADDRESS = re.compile(r"( at)? 0x[0-9a-fA-F]+")
_EMPTY = types.CellType()  # of a variable that has no value yet


def describe(value: object) -> Any:
    """Returns plain values that are equal for equal settings, in every process.

    Numbers, strings and containers of them stay. A tensor is the hash of its values; a module is its structure and the
    hash of its state. A function is its source, its defaults, what it closes over and the global names that it uses; a
    class is its members. Functions and classes of installed packages are their names. An object is its class with its
    attributes; of a trick and of an installed class the public ones and those that the constructor was given.
    """
    return _Description().of(value)


def digest(value: object) -> str:
    """A short hash of what :func:`describe` says."""
    return _digest(describe(value))


def settled(first: Any, second: Any) -> Any:
    """A description of something that was made twice, without what differs between the two by chance."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return {name: settled(item, second[name]) for name, item in first.items()}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [settled(*pair) for pair in zip(first, second, strict=True)]
    return first if json.dumps(first) == json.dumps(second) else "differs each time"


def without_source(description: Any) -> list[str]:
    """The names of the functions in a description that have no source."""
    if isinstance(description, Mapping):
        own = [description["function"]] if description.get("source", "") is None else []
        return own + [name for item in description.values() for name in without_source(item)]
    return [name for item in description for name in without_source(item)] if isinstance(description, list) else []


class _Description:
    """One description; a function, class or object that comes again is only named again."""

    def __init__(self) -> None:
        self._seen: dict[str, list[object]] = {}

    def of(self, value: Any) -> Any:
        value = value.item() if isinstance(value, np.generic) else value
        if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum)):
            return value
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, torch.Tensor) or hasattr(value, "__array_interface__"):  # an image of PIL has it too
            return self._hashed(value if isinstance(value, torch.Tensor) else np.asarray(value))
        if isinstance(value, Mapping):
            return {str(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
        if isinstance(value, set | frozenset):  # without what came before, for the order is chance
            return sorted((describe(item) for item in value), key=json.dumps)
        if isinstance(value, types.ModuleType):
            return value.__name__
        name = _name(value if hasattr(value, "__qualname__") else type(value))
        seen = self._seen.setdefault(name, [])
        for number, earlier in enumerate(seen, 1):
            if value is earlier:
                return f"{name} {number}" if number > 1 else name
        seen.append(value)
        return self._named(value, name)

    def _named(self, value: Any, name: str) -> Any:
        if isinstance(value, functools.partial):
            return {"function": self.of(value.func), "args": self.of(value.args), "keywords": self.of(value.keywords)}
        if isinstance(value, types.MethodType):
            return {"function": self.of(value.__func__), "of": self.of(value.__self__)}
        if isinstance(value, types.FunctionType):
            return self._function(value, name)
        if isinstance(value, type):
            return name if _is_installed(value) else self._class(value, name)
        if isinstance(value, types.BuiltinMethodType) and not isinstance(value.__self__, types.ModuleType | None):
            return {"function": name, "of": self.of(value.__self__)}
        if hasattr(value, "__wrapped__"):
            return {"function": name, "wrapped": self.of(value.__wrapped__)}
        if hasattr(value, "__qualname__"):
            return name
        if isinstance(value, enum.Enum):
            return {"class": self.of(type(value)), "name": value.name}
        return self._module(value) if isinstance(value, nn.Module) else self._object(value)

    def _function(self, value: types.FunctionType, name: str) -> Any:
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        closure = {name: self.of(cell.cell_contents) for name, cell in cells if cell != _EMPTY}
        if _is_installed(value):
            return {"function": name, "closure": closure} if closure else name
        nodes = _nodes(value.__code__)
        parts = {
            "defaults": self.of([given for given in (value.__defaults__, value.__kwdefaults__) if given]),
            "closure": closure,
            "uses": {name: self.of(item) for name, item in _used_globals(nodes, value.__globals__).items()},
        }
        # Python 3.10 writes "lambda :".
        source = [line.replace("lambda :", "lambda:") for node in nodes for line in ast.unparse(node).splitlines()]
        return {"function": name, "source": source or None, **{key: item for key, item in parts.items() if item}}

    def _class(self, value: type, name: str) -> Any:
        members: dict[str, Any] = {}
        if issubclass(value, enum.Enum):
            members = {item.name: self.of(item.value) for item in value}
            return {"class": name, "members": members}
        generated = dataclasses.is_dataclass(value) or issubclass(value, tuple)
        for key, member in vars(value).items():
            member = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
            if isinstance(member, types.FunctionType):
                made = member.__code__.co_filename == "<string>" or _is_installed(member)
                if not (generated and key.startswith("__") and made):
                    members[key] = self.of(member)
            elif not (key.startswith("__") or key == "_abc_impl" or inspect.isdatadescriptor(member)):
                members[key] = self.of(member)
        if dataclasses.is_dataclass(value):
            makers = {field.name: field.default_factory for field in dataclasses.fields(value)}
            members |= {name: self.of(it) for name, it in makers.items() if it is not dataclasses.MISSING}
        return {"class": name, "bases": self.of(value.__bases__), "members": members}

    def _object(self, value: Any) -> Any:
        kind, attributes = type(value), _attributes(value)
        if not attributes or kind.__module__.partition(".")[0] in sys.stdlib_module_names - {"types", "argparse"}:
            text = _ADDRESS.sub("", repr(value))
            # "<…>" names a thing of the process: a lock, a logger, an open file.
            return self.of(kind) if text.startswith("<") else {"class": self.of(kind), "repr": text}
        if isinstance(value, Trick):
            attributes = {name: item for name, item in attributes.items() if not name.startswith("_")}
            attributes |= value.arguments()
        elif _is_installed(kind):
            attributes = _given(kind, attributes)
        return {"class": self.of(kind), **{name: self.of(item) for name, item in attributes.items()}}

    def _module(self, value: nn.Module) -> Any:
        own = vars(nn.Module()).keys()  # torch's attributes, among them hooks, which are numbered in each process
        parts = {
            name: [self.of(type(part)), {key: self.of(item) for key, item in vars(part).items() if key not in own}]
            for name, part in value.named_modules()
        }
        state = [parts, describe(value.state_dict())]
        return {"class": _name(type(value)), "structure": _ADDRESS.sub("", str(value)), "sha256": _digest(state)}

    def _hashed(self, value: Any) -> Any:
        kind = {"dtype": str(value.dtype), "shape": list(value.shape)}
        if isinstance(value, torch.Tensor):
            if value.is_meta:
                return kind
            value = value.detach().cpu()
            dense = value if value.layout == torch.strided else value.to_dense()
            data = dense.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        else:
            data = _digest(self.of(value.tolist())).encode() if value.dtype == object else value.tobytes()
        return {**kind, "sha256": hashlib.sha256(data).hexdigest()[:16]}


def _digest(description: Any) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None) or 'builtins'}.{value.__qualname__}"


def _is_installed(value: Any) -> bool:
    """Whether a function or class belongs to Python, to this package or to another installed one."""
    if isinstance(value, type):
        if value.__module__.partition(".")[0] in sys.stdlib_module_names:
            return True
        file = getattr(sys.modules.get(value.__module__), "__file__", None) or ""
    else:
        file = value.__code__.co_filename
    path = Path(file)
    installed = {"site-packages", "dist-packages"} & set(path.parts) or file.startswith("<frozen")
    return bool(installed) or any(path.is_relative_to(folder) for folder in _INSTALLED)


def _attributes(value: object) -> dict[str, Any]:
    """What an object holds, in ``__dict__`` and in slots."""
    slots = [name for kind in type(value).__mro__ for name in vars(kind).get("__slots__", ()) if hasattr(value, name)]
    return {name: getattr(value, name) for name in slots if not name.startswith("__")} | getattr(value, "__dict__", {})


def _given(kind: type, attributes: dict[str, Any]) -> dict[str, Any]:
    """The public attributes, and the private ones named after arguments; all if an argument is under neither name."""
    inits = [init for each in kind.__mro__ if isinstance(init := vars(each).get("__init__"), types.FunctionType)]
    parameters = [item for init in inits for item in list(inspect.signature(init).parameters.values())[1:]]
    variable = tuple(f"_{item.name}" for item in parameters if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD))
    plain = {item.name for item in parameters if f"_{item.name}" not in variable}
    if any(name not in attributes and f"_{name}" not in attributes for name in plain):
        return attributes
    return {
        name: item
        for name, item in attributes.items()
        if not name.startswith("_") or name[1:] in plain or name.endswith(variable)
    }


def _nodes(code: types.CodeType) -> list[Any]:
    """The definition of a function in its file; all lambdas of its line if they cannot be told apart."""
    linecache.checkcache(code.co_filename)
    places = _places("".join(linecache.getlines(code.co_filename)))
    nodes = places.get((code.co_name, code.co_firstlineno), [])
    spans = list(getattr(code, "co_positions", tuple)())  # Python 3.10 has none
    starts = [(line, left) for line, end, left, right in spans if left is not None and (line, left) != (end, right)]
    around = [
        node
        for node in sorted(nodes, key=lambda node: node.col_offset)
        if len(nodes) > 1
        and starts
        and (node.body.lineno, node.body.col_offset) <= min(starts)
        and max(starts) < (node.body.end_lineno, node.body.end_col_offset)
    ]
    return around[-1:] or nodes


@functools.lru_cache(maxsize=64)
def _places(text: str) -> dict[tuple[str, int], list[Any]]:
    """The functions of a file by name and first line."""
    places: dict[tuple[str, int], list[Any]] = {}
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:  # it is no Python, but a template of it
        return places
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            places.setdefault((getattr(node, "name", "<lambda>"), first), []).append(node)
    return places


def _used_globals(nodes: list[Any], names: dict[str, Any]) -> dict[str, Any]:
    """The values of the global names that a definition uses, as deep as a dotted name leads into modules."""
    used = {}
    for item in (each for node in nodes for each in ast.walk(node)):
        parts: list[str] = []
        while isinstance(item, ast.Attribute):
            parts, item = [item.attr, *parts], item.value
        if isinstance(item, ast.Name) and item.id in names:
            name, value = item.id, names[item.id]
            for part in parts:
                if not isinstance(value, types.ModuleType) or not hasattr(value, part):
                    break
                name, value = f"{name}.{part}", getattr(value, part)
            if not isinstance(value, types.ModuleType):
                used[name] = value
    return used
