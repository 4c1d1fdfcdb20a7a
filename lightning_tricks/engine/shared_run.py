"""A trick keeps the state of one run, and so serves one Trainer at a time."""

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities.exceptions import MisconfigurationException


def check_free(name: str, busy_with: pl.Trainer | None, trainer: pl.Trainer) -> None:
    """Refuses a trick to a Trainer that is set up while another one trains with it.

    Args:
        name: the trick's name.
        busy_with: the Trainer that the trick was last set up for, if any.
        trainer: the one that asks now.

    Raises:
        MisconfigurationException: ``busy_with`` is another Trainer, in the middle of its run.
    """
    if busy_with is not None and busy_with is not trainer and busy_with.state.status == TrainerStatus.RUNNING:
        raise MisconfigurationException(
            f"{name} needs a Trainer of its own, but got a second one whose fit begins inside that of the first; give "
            "the inner Trainer a copy (copy.deepcopy)"
        )
