"""GradualWarmup: the learning rate grows linearly to begin with."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_tricks.callbacks.warmup import Warmup
from lightning_tricks.engine.lr_run import LRRun
from lightning_tricks.engine.method_patch import MethodPatch, remove_patches
from lightning_tricks.functional.checks import check_flag
from lightning_tricks.functional.lr import gradual_warmup

_HELD = "lr_scheduler_step"


class GradualWarmup(Warmup):
    """Lets the learning rate grow linearly for some epochs or steps.

    The formulas are those of :func:`~lightning_tricks.functional.gradual_warmup`: by default batch i of T, counted from
    1, gets i/T of the learning rate. After the warm-up the factor is ``multiplier``.

    The module's own schedulers run from the start of the run and are multiplied by the factor. With ``hold_scheduler``
    they wait instead: their steps during the warm-up and at its very end are left out, so that afterwards they run
    from their beginning; the patience of a ``ReduceLROnPlateau`` waits too.

    Args:
        epochs: length of the warm-up in epochs, at least 0, a fraction too; rounded to the nearest step.
        steps: length in optimizer steps, at least 0. It takes the place of the default ``epochs``; with any other
            ``epochs`` it is an error.
        start_factor: the factor at step 0, in [0, 1].
        multiplier: the factor after the warm-up, at least 1.
        hold_scheduler: whether the module's schedulers wait for the end of the warm-up; under automatic optimisation
            only, since under manual optimisation Lightning does not step them.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range, or both ``epochs`` and ``steps`` are given.
        MisconfigurationException: by ``fit``, if the length is in epochs and the steps of an epoch are unknown, or a
            scheduler is to be held under manual optimisation.

    Example:
        >>> [GradualWarmup(steps=4).factor(step) for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]

    References:
        He et al., "Bag of Tricks for Image Classification", arXiv:1812.01187, section 3.1; Goyal et al., "Accurate,
        Large Minibatch SGD", arXiv:1706.02677, section 2.2: its ramp from η to kη is ``LinearScaling()`` with
        ``GradualWarmup(start_factor=1 / k)``.
    """

    def __init__(
        self,
        epochs: float | None = 5,
        *,
        steps: int | None = None,
        start_factor: float | None = None,
        multiplier: float = 1.0,
        hold_scheduler: bool = False,
    ) -> None:
        # By value, since a config file hands over every default.
        super().__init__(epochs=None if epochs == 5 and steps is not None else epochs, steps=steps)
        self._schedule(gradual_warmup, warmup_steps=0, start_factor=start_factor, multiplier=multiplier)  # checks both
        self.start_factor = start_factor
        self.multiplier = multiplier
        self.hold_scheduler = check_flag("GradualWarmup", "hold_scheduler", hold_scheduler)

    def factor(self, step: int) -> float:
        """Returns what the learning rate is multiplied by at an optimizer step, from 0."""
        schedule = self._schedule(
            gradual_warmup,
            warmup_steps=self.warmup_steps,
            start_factor=self.start_factor,
            multiplier=self.multiplier,
        )
        return schedule(step)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives all learning-rate tricks of the fit a common driver; refuses to hold what Lightning does not step."""
        if stage == "fit":
            remove_patches(pl_module, _HELD)
        if stage == "fit" and self.hold_scheduler and not pl_module.automatic_optimization:
            raise MisconfigurationException(
                "GradualWarmup(hold_scheduler=True) needs automatic optimisation: under manual optimisation the module "
                "steps its schedulers itself, and can wait for the warm-up itself."
            )
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hooks the optimizers and takes hold of the schedulers."""
        super().on_train_start(trainer, pl_module)
        if self.hold_scheduler:
            if not trainer.lr_scheduler_configs:
                rank_zero_warn(
                    "GradualWarmup(hold_scheduler=True) has nothing to hold: configure_optimizers gave no scheduler."
                )
            run = self.run_of(trainer)
            patch = MethodPatch(pl_module, _HELD, partial(self._step_after_warmup, run))
            run.at_close.callback(patch.remove)
            patch.install()

    def _step_after_warmup(self, run: LRRun, lr_scheduler_step: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        if not run.is_active() or (run.counts or [0])[0] > self.warmup_steps:
            lr_scheduler_step(*args, **kwargs)
