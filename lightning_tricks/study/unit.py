"""The unit in which a study's numbers are shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """How values of a metric and their differences are written.

    Attributes:
        scale: what they are multiplied by.
        digits: after the point.
        of_value: what follows the name of a value.
        of_difference: what follows the name of a difference.
    """

    scale: float
    digits: int
    of_value: str = ""
    of_difference: str = ""

    def margin(self, margin: float) -> str:
        """A margin in this unit, which it names."""
        number = f"{self.scale * margin:g}"
        return number + (self.of_difference.removesuffix("s") if number == "1" else self.of_difference)


OWN = Unit(1, 4)
PERCENT = Unit(100, 2, " %", " points")


def unit_of(percent: bool) -> Unit:
    """The unit of percent and points, or else the metric's own."""
    return PERCENT if percent else OWN
