"""Every public name has a docstring with an example that imports what it uses; pytest runs the examples as doctests."""

import ast
import builtins
import dataclasses
import doctest
import inspect

import pytest

import lightning_tricks
from tests.public_names import public_names

PUBLIC = public_names()


def needs_no_example(it):
    """Whether it is an exception, or a record that a user is given and does not make."""
    given = dataclasses.is_dataclass(it) and it.__name__ not in lightning_tricks.__all__
    return inspect.isclass(it) and (issubclass(it, Exception) or given)


def undefined(code, own):
    """The names that the code reads without having made or imported them."""
    made, read = {own, *dir(builtins)}, set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                made.add(name)
            case ast.alias(name=name, asname=asname):
                made.add(asname or name.split(".")[0])
    return read - made


def test_pytest_runs_the_examples_of_the_package(request):
    assert request.config.getoption("doctestmodules")
    assert "lightning_tricks" in request.config.getini("testpaths")


def test_what_is_undefined_is_found():
    assert undefined("x = [f(y) for y in range(3)]\ndef g(z):\n    return z + x + own", "own") == {"f"}
    assert undefined("import a.b\nfrom c import d as e\na, e, d", "own") == {"d"}


def test_public_names_are_those_of_every_subpackage():
    names = set(PUBLIC)
    assert {"lightning_tricks.callbacks.mixup.Mixup", "lightning_tricks.functional._mixup.mixup"} < names
    assert {"lightning_tricks.study.statistics.holm", "lightning_tricks.recipes.config_path"} < names


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_has_an_example_that_imports_what_it_uses(name):
    it = PUBLIC[name]
    text = vars(it).get("__doc__") if inspect.isclass(it) else it.__doc__
    assert text
    assert not text.startswith(f"{it.__name__}(")  # what a dataclass gets by itself
    code = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    assert code or needs_no_example(it)
    assert undefined(code, it.__name__) == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_no_example_is_skipped(name):
    assert "+SKIP" not in inspect.getsource(PUBLIC[name])
