"""Which share of a study one process does."""

import re


def parse_shard(shard: str | tuple[int, int] | None) -> tuple[int, int]:
    """The share and the number of shares.

    Args:
        shard: ``(i, n)`` or ``"i/n"`` for the i-th of n shares, counted from 1; ``None`` for the only one.

    Returns:
        ``(i, n)``.

    Raises:
        TypeError: if it is neither a string nor a pair of integers.
        ValueError: if the string is not of that form, or i is not in 1 to n.

    Example:
        >>> parse_shard("2/3")
        (2, 3)
    """
    if shard is None:
        return 1, 1
    if isinstance(shard, str):
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", shard)
        if match is None:
            raise ValueError(f'Ablation: expected `shard` of the form "i/n", but got {shard!r}.')
        index, count = int(match[1]), int(match[2])
    elif isinstance(shard, tuple | list) and len(shard) == 2 and all(type(number) is int for number in shard):
        index, count = shard
    else:
        raise TypeError(f'Ablation: expected `shard` to be "i/n" or a pair of integers, but got {shard!r}.')
    if not 1 <= index <= count:
        raise ValueError(f"Ablation: shares are counted from 1 to their number, but got share {index} of {count}.")
    return index, count
