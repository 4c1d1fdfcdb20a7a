"""Pictures of what the tricks do."""

from lightning_tricks.plots.lr import plot_lr

__all__ = ["plot_lr"]
