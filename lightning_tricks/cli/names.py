"""Names that a user has typed."""

import difflib
from collections.abc import Collection


def unknown_name(kind: str, name: str, known: Collection[str], *, more: str = "") -> ValueError:
    """The error for a name that there is not, with the nearest one that there is.

    Args:
        kind: what was named, for example "trick".
        name: as it was typed.
        known: the names that there are.
        more: what else could have been given, for example ", or a folder".

    Returns:
        The error, to be raised.

    Example:
        >>> str(unknown_name("trick", "mixpu", ["mixup", "cutmix"]))
        "there is no trick 'mixpu'. Did you mean 'mixup'?"
        >>> str(unknown_name("trick", "warp", ["mixup", "cutmix"]))
        "there is no trick 'warp'. There are: cutmix, mixup."
    """
    spelt = {one.lower(): one for one in known}
    nearest = difflib.get_close_matches(name.lower(), spelt, n=1)
    hint = f"Did you mean {spelt[nearest[0]]!r}?" if nearest else f"There are: {', '.join(sorted(known))}{more}."
    return ValueError(f"there is no {kind} {name!r}. {hint}")
