"""Pictures of what the tricks do."""

from lightning_tricks.plots._preview import preview
from lightning_tricks.plots.batch_preview import BatchPreview
from lightning_tricks.plots.lr import plot_lr

__all__ = ["BatchPreview", "plot_lr", "preview"]
