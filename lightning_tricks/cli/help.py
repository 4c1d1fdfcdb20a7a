"""The form of the command's ``--help``."""

import argparse
from collections.abc import Sequence

from jsonargparse import DefaultHelpFormatter

PROG = "lightning-tricks"


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the examples, and shows the type of a path as ``path``."""

    def _expand_help(self, action: argparse.Action) -> str:
        return super()._expand_help(action).replace("<class 'Path'>", "path")


def examples_text(examples: Sequence[str], more: str = "") -> str:
    """The end of a subcommand's help: examples without the command's name, then ``more``."""
    return "\n\n".join(filter(None, ("examples:\n" + "\n".join(f"  {PROG} {words}" for words in examples), more)))
