"""An image divided in four by one point, as RICAP and Mosaic do."""


def quadrants(boundary: tuple[int, int], *, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Divides an image in four.

    Args:
        boundary: ``(row, column)`` of the dividing point, in 0..H and 0..W: the first row of the lower and the first
            column of the right quadrants.
        size: ``(H, W)`` of the image.

    Returns:
        The boxes ``(top, left, height, width)`` of the top-left, top-right, bottom-left and bottom-right quadrants;
        some are empty where the boundary lies on the border.

    Raises:
        ValueError: if the boundary lies outside the image.

    Example:
        >>> quadrants((1, 3), size=(4, 5))
        [(0, 0, 1, 3), (0, 3, 1, 2), (1, 0, 3, 3), (1, 3, 3, 2)]
    """
    row, column = (int(number) for number in boundary)
    height, width = size
    if not (0 <= row <= height and 0 <= column <= width):
        raise ValueError(f"The point that divides an image of size {tuple(size)} must lie in it, but got {boundary}")
    return [
        (0, 0, row, column),
        (0, column, row, width - column),
        (row, 0, height - row, column),
        (row, column, height - row, width - column),
    ]


def quadrant_weights(boundary: tuple[int, int], *, size: tuple[int, int]) -> tuple[float, ...]:
    """Gives each quadrant's share of the image's area, in the order of :func:`quadrants`.

    Args:
        boundary: as in :func:`quadrants`.
        size: ``(H, W)`` of the image.

    Returns:
        Four numbers that add up to 1.

    Raises:
        ValueError: if the boundary lies outside the image.

    Example:
        >>> quadrant_weights((1, 3), size=(4, 5))
        (0.15, 0.1, 0.45, 0.3)
    """
    return tuple(height * width / (size[0] * size[1]) for _, _, height, width in quadrants(boundary, size=size))
