"""Lets mkdocstrings read the docstrings as they are written here: Sphinx's roles, and ``Example:`` for one example."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")


class Docstrings(griffe.Extension):
    """Makes a link of ``:class:`~package.Name```, and of ``Example:`` the ``Examples:`` that griffe knows."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring of an object, once everything has been read."""
        if obj.docstring:
            text = ROLE.sub(lambda role: _link(role[1], obj.package), obj.docstring.value)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)


def _link(path: str, package: griffe.Module) -> str:
    name = path.rpartition(".")[2]
    try:
        found = package[path.removeprefix(f"{package.path}.")]
    except KeyError:  # relative to the docstring's place
        return f"[`{name}`][{path}]"
    # A function has the name of its file: Python finds the function where griffe finds the file.
    return f"[`{name}`][{path}.{name}]" if found.is_module and name in found.members else f"[`{name}`][{path}]"
