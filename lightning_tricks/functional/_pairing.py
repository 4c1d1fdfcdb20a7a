"""Who is mixed with whom: the partner of sample i is sample (i + shift) mod N."""


def partner_slices(n: int, shift: int) -> list[tuple[slice, slice]]:
    """Gives the batch and its partners as pairs of slices, so that both are views and nothing is gathered.

    The slices of the samples cover 0..n−1 in order; beside each stands the slice of their partners.

    Args:
        n: number of samples, ≥ 0.
        shift: distance to the partner, any integer; it counts modulo n.

    Returns:
        Pairs ``(samples, partners)``: none for n = 0, one where shift is a multiple of n, else two.

    Example:
        >>> partner_slices(5, 2)
        [(slice(0, 3, None), slice(2, 5, None)), (slice(3, 5, None), slice(0, 2, None))]
    """
    if n == 0:
        return []
    shift %= n
    head = (slice(0, n - shift), slice(shift, n))
    return [head, (slice(n - shift, n), slice(0, shift))] if shift else [head]
