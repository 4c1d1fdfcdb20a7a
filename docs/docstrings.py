"""Lets mkdocstrings read the docstrings as they are written here: Sphinx's roles, and ``Example:`` for one example."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")


class Docstrings(griffe.Extension):
    """Makes a link of ``:class:`~package.Name```, and of ``Example:`` the ``Examples:`` that griffe knows.

    It also writes out the keywords that ``**shared`` stands for.
    """

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring of an object, once everything has been read."""
        if obj.docstring:
            text = ROLE.sub(lambda role: _link(role[1], obj.package), obj.docstring.value)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Puts a base class's keywords, with their defaults and descriptions, in the place of ``**shared``."""
        for module in pkg["callbacks"].modules.values():
            for cls in module.classes.values():
                _write_out(cls)


def _write_out(cls: griffe.Class) -> None:
    """Puts the keywords of the base class in the place of ``**shared``."""
    own = cls.members["__init__"].parameters if "__init__" in cls.members else ()
    if "shared" not in [parameter.name for parameter in own]:
        return
    base = cls.mro()[0]
    _write_out(base)  # whose own keywords may be those of its base
    inherited = [it for it in base["__init__"].parameters if it.name not in [parameter.name for parameter in own]]
    del own["shared"]
    for parameter in inherited:
        own.add(parameter)
    entries = dict(_entries(base.docstring.value))
    texts = "".join(entries.get(parameter.name, "") for parameter in inherited)
    cls.docstring.value = "".join(texts if name == "shared" else text for name, text in _entries(cls.docstring.value))


def _entries(docstring: str) -> list[tuple[str, str]]:
    """The docstring in pieces: each argument's entry with its name, and the rest."""
    pieces = re.split(r"^(?=    \w+: |(?:    )?\S|\n)", docstring, flags=re.MULTILINE)
    return [(found[1] if (found := re.match(r"    (\w+): ", piece)) else "", piece) for piece in pieces]


def _link(path: str, package: griffe.Module) -> str:
    name = path.rpartition(".")[2]
    try:
        found = package[path.removeprefix(f"{package.path}.")]
    except KeyError:  # relative to the docstring's place
        return f"[`{name}`][{path}]"
    # A function has the name of its file: Python finds the function where griffe finds the file.
    return f"[`{name}`][{path}.{name}]" if found.is_module and name in found.members else f"[`{name}`][{path}]"
