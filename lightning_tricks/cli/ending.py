"""How a subcommand's help ends, and how it stops before its end."""

import argparse
from collections.abc import Sequence

from jsonargparse import DefaultHelpFormatter

PROG = "lightning-tricks"


class Interrupted(Exception):
    """Ctrl-C; the message says how to go on."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the examples, and says what a user types where jsonargparse says what Python makes of it."""

    def _expand_help(self, action: argparse.Action) -> str:
        return super()._expand_help(action).replace("<class 'Path'>", "path")


def examples_text(examples: Sequence[str], more: str = "") -> str:
    """The end of a subcommand's help.

    Args:
        examples: what comes after the command's name.
        more: what comes after the examples.
    """
    return "\n\n".join(filter(None, ("examples:\n" + "\n".join(f"  {PROG} {words}" for words in examples), more)))
