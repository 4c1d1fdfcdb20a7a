"""ConstantWarmup: a constant lower learning rate to begin with."""

from typing import Any, get_args

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_tricks.callbacks.warmup import Warmup
from lightning_tricks.functional.checks import Mode, check_choice, check_number
from lightning_tricks.functional.lr import constant_warmup


class ConstantWarmup(Warmup):
    """Multiplies the learning rate by ``factor`` for some time, or until a logged metric crosses a threshold.

    The formula is that of :func:`~lightning_tricks.functional.constant_warmup`. With ``monitor`` the warm-up ends as
    soon as the logged metric has passed the threshold, at the latest at its length: the metric is looked up before each
    batch, and the next optimizer step is the first at the full rate. Decays begin there. Rank 0 decides for all ranks.
    A metric that is first seen after an epoch or a validation is looked up there only. The end is in the checkpoint.

    Args:
        factor: the factor during the warm-up, above 0.
        epochs: length of the warm-up in epochs, at least 0, a fraction too; rounded to the nearest step.
        steps: length in optimizer steps, at least 0. Exactly one of the two is to be given.
        monitor: name of a logged metric, of training or validation, whose crossing ends the warm-up.
        threshold: the value to be crossed; to be given with ``monitor``, and only then.
        mode: ``"max"`` ends the warm-up when the metric is above the threshold, ``"min"`` when it is below.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: an argument is out of its range, not exactly one of ``epochs`` and ``steps`` is given, or only one
            of ``monitor`` and ``threshold``.
        MisconfigurationException: by ``fit``, if the length is in epochs and the steps of an epoch are unknown, if
            there is a ``monitor`` and more than one optimizer, or if a whole epoch has not logged the metric.

    Example:
        >>> [ConstantWarmup(steps=2).factor(step) for step in range(4)]
        [0.1, 0.1, 1.0, 1.0]

    References:
        He et al., "Deep Residual Learning", arXiv:1512.03385, section 4.2: ResNet-110 trains at a tenth of the rate
        until the training error is below 80%, here ``monitor="train_acc", threshold=0.2``.
    """

    def __init__(
        self,
        factor: float = 0.1,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        monitor: str | None = None,
        threshold: float | None = None,
        mode: Mode = "max",
    ) -> None:
        super().__init__(epochs=epochs, steps=steps)
        if (monitor is None) != (threshold is None):
            raise ValueError(
                "ConstantWarmup needs monitor and threshold together or neither, "
                f"but got monitor={monitor!r} and threshold={threshold!r}."
            )
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"ConstantWarmup needs monitor to be a string, but got {monitor!r}.")
        if threshold is not None:
            check_number("ConstantWarmup", "threshold", threshold)
        self.warmup_factor = factor
        self._schedule(constant_warmup, warmup_steps=0, factor=factor)  # checks the factor
        self.monitor = monitor
        self.threshold = threshold
        self.mode: Mode = check_choice("ConstantWarmup", "mode", mode, get_args(Mode))
        self.early_end: int | None = None
        """The optimizer step at which the metric has ended the warm-up."""
        self._earlier_metric: float | None = None
        self._first_epoch = 0
        self._looked_at: tuple[int, int] | None = None
        self._is_news = True
        self._comes_in_steps = True
        self._was_seen = False

    @property
    def warmup_steps(self) -> int:
        """The optimizer steps until the warm-up ends, as far as that is known."""
        return super().warmup_steps if self.early_end is None else self.early_end

    def factor(self, step: int) -> float:
        """Returns what the learning rate is multiplied by at an optimizer step, from 0."""
        return self._schedule(constant_warmup, warmup_steps=self.warmup_steps, factor=self.warmup_factor)(step)

    def state(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Returns the end, and the metric as it is now."""
        return {"early_ends": self.early_end, "metrics": self._metric(trainer)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes over the end, and the metric until it is logged again."""
        self.early_end = state.get("early_ends")
        self._earlier_metric = state.get("metrics")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses to end for several optimizers, which count apart, at one metric."""
        if self.monitor is not None and len(trainer.optimizers) > 1:
            raise MisconfigurationException(
                f"ConstantWarmup(monitor={self.monitor!r}) needs one optimizer, for the end is a number of its steps, "
                f"but there are {len(trainer.optimizers)}; leave monitor out."
            )
        self._first_epoch = trainer.current_epoch
        self._looked_at = None
        self._is_news = self._comes_in_steps = True
        self._was_seen = False
        super().on_train_start(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the metric again."""
        self._is_news = True

    def before_step(self, trainer: pl.Trainer, count: int) -> None:
        """Ends the warm-up if the metric has crossed the threshold."""
        if self.monitor is None or self.threshold is None or count >= self.warmup_steps:
            return
        epoch, batch = trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.total.completed
        if self._looked_at is None or self._looked_at[0] != epoch:
            self._is_news = True
        elif batch <= self._looked_at[1]:
            return
        self._looked_at = (epoch, batch)
        if not self._is_news and not self._comes_in_steps:
            return
        value = self._metric(trainer)
        has_crossed = False
        if value is not None:
            # A 0.2 that is logged becomes the nearest float32: what equals the threshold then has not crossed it.
            logged, threshold = np.float32(value), np.float32(self.threshold)
            has_crossed = bool(logged > threshold if self.mode == "max" else logged < threshold)
        every = trainer.check_val_every_n_epoch
        is_missing = value is None and every is not None and trainer.current_epoch >= self._first_epoch + every
        # A metric that is first seen after an epoch or a validation is one of those, and is looked at there only.
        if self.monitor in trainer.callback_metrics and not self._was_seen:
            self._was_seen = True
            self._comes_in_steps = not self._is_news
        # All ranks do what rank 0 sees, its times to look included: a metric that is not synchronised would end the
        # warm-up at different steps, and one that rank 0 alone logs would leave it alone in a broadcast.
        has_crossed, is_missing, self._comes_in_steps = trainer.strategy.broadcast(
            (has_crossed, is_missing, self._comes_in_steps)
        )
        self._is_news = False
        if is_missing:
            raise MisconfigurationException(
                f"ConstantWarmup(monitor={self.monitor!r}) waits for a metric that was not logged in a whole epoch; "
                f"there are {sorted(trainer.callback_metrics)}."
            )
        if has_crossed:
            self.early_end = count

    def _metric(self, trainer: pl.Trainer) -> float | None:
        """The monitored metric; a resumed run has none at first but the one before it was stopped."""
        value = None if self.monitor is None else trainer.callback_metrics.get(self.monitor)
        return self._earlier_metric if value is None else float(value)
