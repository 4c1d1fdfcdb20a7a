"""docs/dependencies.md lists what pyproject.toml names, each package with a licence and a reason."""

import re
import sys
from collections import defaultdict
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "dependencies.md").read_text()
ROWS = re.findall(r"^\| ([\w-]+) \| ([\w, ]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)


def direct_dependencies():
    """Canonical name of each package to what needs it; the project's references to its own extras left out."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    groups = {"run time": project["dependencies"], "build": pyproject["build-system"]["requires"]}
    needed_by = defaultdict(set)
    for group, requirements in (groups | project["optional-dependencies"]).items():
        for name in (Requirement(requirement).name for requirement in requirements):
            if name != project["name"]:
                needed_by[canonicalize_name(name)].add(group)
    return dict(needed_by)


def test_every_package_is_listed_with_what_needs_it():
    listed = {canonicalize_name(name): set(groups.split(", ")) for name, groups, _, _ in ROWS}
    assert listed.pop("package") == {"needed by"}
    assert listed == direct_dependencies()


def test_no_package_is_listed_twice():
    names = [canonicalize_name(name) for name, _, _, _ in ROWS]
    assert sorted(names) == sorted(set(names))


def test_every_package_has_a_licence_and_a_reason():
    assert len(ROWS) == PAGE.count("\n| ")
    assert all(licence.strip() and reason.strip() for _, _, licence, reason in ROWS)
