"""Partners of the samples of a batch, and the four quadrants of an image that RICAP and Mosaic fill."""


def partner_slices(n: int, shift: int) -> list[tuple[slice, slice]]:
    """Returns pairs of slices of samples and their partners, (i + shift) mod n: views instead of a gather."""
    if n == 0:
        return []
    shift %= n
    head = (slice(0, n - shift), slice(shift, n))
    return [head, (slice(n - shift, n), slice(0, shift))] if shift else [head]


def quadrants(boundary: tuple[int, int], *, size: tuple[int, int], owner: str) -> list[tuple[int, int, int, int]]:
    """Returns boxes ``(top, left, height, width)``: top-left, top-right, bottom-left and bottom-right quadrant."""
    row, column = (int(number) for number in boundary)
    height, width = size
    if not (0 <= row <= height and 0 <= column <= width):
        raise ValueError(
            f"{owner} needs the quadrants to meet inside the image of size {tuple(size)}, but got {boundary}."
        )
    return [
        (0, 0, row, column),
        (0, column, row, width - column),
        (row, 0, height - row, column),
        (row, column, height - row, width - column),
    ]


def quadrant_weights(boundary: tuple[int, int], *, size: tuple[int, int], owner: str) -> tuple[float, ...]:
    """Returns each quadrant's share of the image's area, in the order of :func:`quadrants`."""
    boxes = quadrants(boundary, size=size, owner=owner)
    return tuple(height * width / (size[0] * size[1]) for _, _, height, width in boxes)
