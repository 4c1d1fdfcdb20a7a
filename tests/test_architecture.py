"""The layout of the package: who may import whom, and what stands in which folder."""

import ast
import importlib
import inspect
from collections import Counter
from pathlib import Path

import pytest
from lightning.pytorch import Callback

import lightning_tricks

PACKAGE = Path(lightning_tricks.__file__).parent
FLOORS = [
    {"functional"},
    {"soft_target", "optim"},
    {"metrics", "engine"},
    {"callbacks"},
    {"mixins", "plots", "recipes", "data", "models"},
    {"study"},
    {"cli"},
]
"""From the bottom up; a package imports from its own floor never, and from those below it only."""
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
ROOT_FILES = {"__init__", "__main__"}


def module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def imports_of(path):
    """Yields ``(module, name)`` of each import from the package, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                if node.module and node.module.split(".")[0] == "lightning_tricks":
                    whole = f"{node.module}.{alias.name}"
                    yield (whole, "") if whole in MODULES else (node.module, alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "lightning_tricks")


IMPORTS = {module: list(imports_of(path)) for module, path in MODULES.items()}


def test_every_room_has_a_floor():
    assert {room_of(module) for module in MODULES} - {"", "__main__"} == FLOOR_OF.keys()


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) not in {"", "__main__"}])
def test_a_module_imports_from_the_floors_below(module):
    room = room_of(module)
    for imported, _ in IMPORTS[module]:
        other = room_of(imported)
        # The root's names are for users: within the package each thing is imported from where it is.
        assert other == room or (other and FLOOR_OF[other] < FLOOR_OF[room]), f"{module} imports {imported}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: {it for it, _ in imports if it != module} for module, imports in IMPORTS.items()}
    finished, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in finished:
            path.append(module)
            for imported in graph.get(module, ()):
                # A package's own __init__ is its face: it imports its modules, not they it.
                visit(imported)
            finished.add(path.pop())

    for module in graph:
        visit(module)


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("module", MODULES)
def test_no_package_takes_private_names_of_another(module):
    for imported, name in IMPORTS[module]:
        if room_of(imported) != room_of(module):
            inside = imported.split(".")[2:]
            assert not any(map(is_private, [*inside, name])), f"{module} imports {name} from {imported}"


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("lightning_tricks.callbacks.")])
def test_every_module_of_callbacks_defines_a_callback(module):
    members = vars(importlib.import_module(module)).values()
    assert any(inspect.isclass(it) and issubclass(it, Callback) and it.__module__ == module for it in members)


@pytest.mark.parametrize("module", [module for module in MODULES if "." in module])
def test_no_module_is_hidden_by_a_function_of_its_name(module):
    package, _, name = module.rpartition(".")
    found = importlib.import_module(module)
    assert vars(importlib.import_module(package))[name] is found
    assert getattr(vars(found).get(name), "__module__", None) != module


def test_no_folder_but_callbacks_is_crowded():
    files = Counter(path.parent.name for path in FILES)
    assert {folder: number for folder, number in files.items() if number > 13 and folder != "callbacks"} == {}
