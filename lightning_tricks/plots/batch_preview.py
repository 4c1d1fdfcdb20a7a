"""BatchPreview: what the module is trained on, as a picture in the logger or on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_tricks.callbacks.batch_trick import BatchTrick
from lightning_tricks.engine.shared_run import Trick
from lightning_tricks.functional.checks import check_integer
from lightning_tricks.plots._preview import Row, draw_rows, row_title
from lightning_tricks.plots.captions import ClassNames, check_class_names
from lightning_tricks.plots.figure import new_figure, pixels
from lightning_tricks.plots.pixel_range import PixelRange, Statistic

_TAG = "batch_preview"


class BatchPreview(Trick):
    """Logs the first training batch as the module gets it, beside what came from the loader, with what was drawn.

    The picture goes to every logger that takes pictures: TensorBoard's, and those with a ``log_image`` like Weights &
    Biases'. Where there is none, or where a ``directory`` is given, it is written as
    ``batch_preview_step=<global step>.png``; the directory is by default the logger's, else ``default_root_dir``. Only
    global rank 0 draws, its own batch. The run is the same with and without it: nothing random is drawn, the batch is
    not written to, and nothing of it is kept.

    Args:
        every_n_epochs: show the first batch of every n-th epoch, at least 1; ``None`` shows one batch, the first that
            ``fit`` trains on.
        max_images: how many images are shown, at least 1.
        mean: what was subtracted from the images when they were normalised; see :func:`~lightning_tricks.preview`.
        std: what they were divided by.
        class_names: a list of names, or a mapping from labels to names.
        directory: where to write PNG files, whatever the loggers take; it is made if need be.

    Raises:
        TypeError: an argument has the wrong type; at the first batch, images are no tensor.
        ValueError: an argument is out of its range; at the first batch, images are not found or cannot be shown.
        ModuleNotFoundError: by ``fit``, if matplotlib is not installed; it comes with
            ``pip install lightning-tricks[cli]``.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[BatchPreview(max_images=4)], logger=False)
    """

    def __init__(
        self,
        *,
        every_n_epochs: int | None = None,
        max_images: int = 6,
        mean: Statistic | None = None,
        std: Statistic | None = None,
        class_names: ClassNames | None = None,
        directory: str | Path | None = None,
    ) -> None:
        if every_n_epochs is not None:
            check_integer("BatchPreview", "every_n_epochs", every_n_epochs, low=1)
        if directory is not None and not isinstance(directory, (str, Path)):
            raise TypeError(f"BatchPreview needs directory to be a path, but got {directory!r}.")
        PixelRange("BatchPreview", mean=mean, std=std)
        self.every_n_epochs = every_n_epochs
        self.max_images = check_integer("BatchPreview", "max_images", max_images, low=1)
        self.mean = mean
        self.std = std
        self.class_names = check_class_names("BatchPreview", class_names)
        self.directory = directory
        self._due = False
        self._default_directory: str | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Finds out where to write."""
        if stage != "fit":
            return
        new_figure("BatchPreview", size=(1, 1))  # fails now rather than at the first batch
        self._due = True
        self._default_directory = trainer.log_dir  # all ranks have to ask

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finds out whether this epoch is shown."""
        if self.every_n_epochs is not None:
            self._due = trainer.current_epoch % self.every_n_epochs == 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Looks at the batch: at once, or where tricks are going to change it, when they have."""
        if not self._due or not trainer.is_global_zero:
            return

        def show(given: Any, made: Any, drawn: Sequence[tuple[Any, Any]]) -> None:
            self._due = False
            self._show(trainer, given, made, drawn)

        run = BatchTrick.run_of(trainer)
        if run is None:
            show(batch, batch, [])
        else:
            run.observer = show

    def _show(self, trainer: pl.Trainer, given: Any, made: Any, drawn: Sequence[tuple[Any, Any]]) -> None:
        rows = [Row(["from the loader"], given, drawn[0][0] if drawn else None)]
        if drawn:
            beside = [line for trick, params in drawn for line in row_title(trick, params)]
            rows.append(Row(beside, made, drawn[0][0], [params for _, params in drawn]))
        figure = draw_rows(
            "BatchPreview",
            rows,
            max_images=self.max_images,
            mean=self.mean,
            std=self.std,
            class_names=self.class_names,
        )
        step = trainer.global_step
        taken = False
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(_TAG, pixels(figure), step, dataformats="HWC")
                taken = True
            elif callable(log_image := getattr(logger, "log_image", None)):
                log_image(key=_TAG, images=[pixels(figure)], step=step)
                taken = True
        if self.directory is not None or not taken:
            directory = Path(self.directory or self._default_directory or trainer.default_root_dir)
            directory.mkdir(parents=True, exist_ok=True)
            figure.savefig(directory / f"{_TAG}_step={step}.png")
