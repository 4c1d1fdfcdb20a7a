"""The ``lightning-tricks`` command, and the small data and model that it needs."""

import sys
from importlib.util import find_spec

_NEEDED = ("jsonargparse", "matplotlib", "rich", "sklearn")


def main() -> None:
    """The entry point of ``lightning-tricks`` and of ``python -m lightning_tricks``."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        sys.exit(f'lightning-tricks needs {", ".join(missing)}: pip install "lightning-tricks[cli]"')
    from lightning_tricks.cli.command import run_command

    run_command()
