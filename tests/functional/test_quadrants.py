import pytest

from lightning_tricks.functional.quadrants import quadrant_weights, quadrants


@pytest.mark.parametrize("boundary", [(0, 0), (4, 7), (0, 3), (2, 0), (1, 5)])
def test_quadrants_cover_every_pixel_once_and_weights_are_their_shares(boundary):
    owners = {}
    for number, (top, left, height, width) in enumerate(quadrants(boundary, size=(4, 7))):
        for row in range(top, top + height):
            for column in range(left, left + width):
                assert (row, column) not in owners
                assert number == 2 * (row >= boundary[0]) + (column >= boundary[1])
                owners[row, column] = number
    assert len(owners) == 28
    shares = [list(owners.values()).count(number) / 28 for number in range(4)]
    assert quadrant_weights(boundary, size=(4, 7)) == pytest.approx(shares, abs=1e-15)


@pytest.mark.parametrize("boundary", [(-1, 0), (5, 0), (0, -1), (0, 8)])
def test_refuses_a_point_outside_the_image(boundary):
    with pytest.raises(ValueError, match=r"image of size \(4, 7\) must lie in it, but got \("):
        quadrants(boundary, size=(4, 7))
