import pytest

from lightning_tricks.functional._pairing import partner_slices, quadrant_weights, quadrants


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 6, 7, 15])
def test_every_sample_meets_the_one_at_the_distance(n, shift):
    samples = list(range(n))
    pairs = [
        pair for own, partner in partner_slices(n, shift) for pair in zip(samples[own], samples[partner], strict=True)
    ]
    assert pairs == [(i, (i + shift) % n) for i in samples]


@pytest.mark.parametrize("boundary", [(0, 0), (4, 7), (0, 3), (2, 0), (1, 5)])
def test_quadrants_cover_every_pixel_once_and_weights_are_their_shares(boundary):
    owners = {}
    for number, (top, left, height, width) in enumerate(quadrants(boundary, size=(4, 7), owner="ricap")):
        for row in range(top, top + height):
            for column in range(left, left + width):
                assert (row, column) not in owners
                assert number == 2 * (row >= boundary[0]) + (column >= boundary[1])
                owners[row, column] = number
    assert len(owners) == 28
    shares = [list(owners.values()).count(number) / 28 for number in range(4)]
    assert quadrant_weights(boundary, size=(4, 7), owner="ricap") == pytest.approx(shares, abs=1e-15)


@pytest.mark.parametrize("boundary", [(-1, 0), (5, 0), (0, -1), (0, 8)])
def test_refuses_a_point_outside_the_image(boundary):
    with pytest.raises(ValueError, match=r"needs the quadrants to meet inside the image of size \(4, 7\), but got \("):
        quadrants(boundary, size=(4, 7), owner="ricap")
