"""StepDecay: the learning rate drops at intervals or at milestones."""

from collections.abc import Sequence

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks.callbacks.decay import Decay
from lightning_tricks.callbacks.lr_trick import LRTrick
from lightning_tricks.engine.run_length import RunLength
from lightning_tricks.functional.checks import check_number
from lightning_tricks.functional.lr import step_decay


class StepDecay(Decay):
    """Multiplies the learning rate by ``gamma`` at every interval or milestone.

    The formula is that of :func:`~lightning_tricks.functional.step_decay`. Unlike the other decays it counts from the
    start of the run: a warm-up does not move the drops.

    Args:
        every_epochs: epochs between two drops, above 0, a fraction too; rounded to the nearest step.
        every_steps: optimizer steps between two drops, at least 1.
        milestones: epochs after which the rate drops, increasing, each at least 0, fractions too. Either of these two
            takes the place of the default ``every_epochs``; two lengths of your own are an error.
        gamma: what each drop multiplies by, above 0 and at most 1.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range, or more than one of the three is given.
        MisconfigurationException: by ``fit``, if epochs are given and the steps of an epoch are unknown, if two drops
            fall on the same step, or if the run has a second decay.

    Example:
        >>> [StepDecay(every_steps=2, gamma=0.5).factor(step) for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]

    References:
        He et al., "Deep Residual Learning", arXiv:1512.03385, section 3.4; Goyal et al., arXiv:1706.02677, section 5.1.
    """

    def __init__(
        self,
        every_epochs: float | None = 30,
        *,
        every_steps: int | None = None,
        milestones: Sequence[float] | None = None,
        gamma: float = 0.1,
    ) -> None:
        if every_epochs == 30 and (every_steps is not None or milestones is not None):
            every_epochs = None  # by value, since a config file hands over every default
        if sum(argument is not None for argument in (every_epochs, every_steps, milestones)) != 1:
            raise ValueError(
                "StepDecay needs one of every_epochs, every_steps and milestones, but got "
                f"every_epochs={every_epochs!r}, every_steps={every_steps!r} and milestones={milestones!r}; leave two "
                "of them out."
            )
        if every_epochs is not None:
            check_number("StepDecay", "every_epochs", every_epochs, above=0)
        if milestones is not None:
            if not isinstance(milestones, Sequence) or isinstance(milestones, str):
                raise TypeError(f"StepDecay needs milestones to be a list of numbers, but got {milestones!r}.")
            milestones = [check_number("StepDecay", "each milestone", milestone, low=0) for milestone in milestones]
            if sorted(set(milestones)) != milestones:
                raise ValueError(f"StepDecay needs milestones to increase, but got {milestones!r}.")
        self.every_epochs = every_epochs
        self.every_steps = every_steps
        self.milestones = milestones
        self.gamma = gamma
        self._schedule(step_decay, every_steps=1 if every_steps is None else every_steps, gamma=gamma)  # checks both
        self._every_steps = every_steps
        self._milestone_steps: list[int] | None = None

    def factor(self, step: int) -> float:
        """Returns what the learning rate is multiplied by at an optimizer step, from 0.

        Raises:
            MisconfigurationException: the drops were given in epochs and training has not started.
        """
        if self._every_steps is None and self._milestone_steps is None:
            raise MisconfigurationException(
                "StepDecay in epochs needs the run's steps per epoch to say what its factor is: it knows them when "
                "training has started; give every_steps= to ask before."
            )
        schedule = self._schedule(
            step_decay, every_steps=self._every_steps, milestones=self._milestone_steps, gamma=self.gamma
        )
        return schedule(step)

    def resolve(self, length: RunLength, tricks: Sequence[LRTrick]) -> None:
        """Turns epochs into optimizer steps."""
        epochs = [self.every_epochs] if self.every_epochs is not None else self.milestones
        if epochs is None:
            return
        steps = [length.steps("StepDecay", epoch, instead="every_steps=") for epoch in epochs]
        if len(set(steps)) < len(steps) or (self.milestones is None and steps[0] == 0):
            raise MisconfigurationException(
                f"StepDecay needs at least one optimizer step between two drops, but with {length.steps_per_epoch} "
                f"steps an epoch, {epochs} epochs are {steps} steps."
            )
        if self.milestones is None:
            self._every_steps = steps[0]
        else:
            self._milestone_steps = steps
