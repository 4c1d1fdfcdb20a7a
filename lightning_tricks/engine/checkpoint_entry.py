"""The one entry that all tricks share in a Lightning checkpoint."""

from typing import Any

_KEY = "lightning_tricks"


def write_entry(checkpoint: dict[str, Any], section: str, state: dict[str, Any]) -> None:
    """Stores ``state`` (plain numbers, strings, lists and dicts) under ``section``; other sections stay."""
    checkpoint.setdefault(_KEY, {})[section] = state


def read_entry(checkpoint: dict[str, Any], section: str) -> dict[str, Any] | None:
    """Returns what :func:`write_entry` stored under ``section``, or ``None``."""
    return checkpoint.get(_KEY, {}).get(section)
