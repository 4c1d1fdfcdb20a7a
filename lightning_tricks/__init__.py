"""Training tricks of image classification, each one line in ``Trainer(callbacks=[...])``."""

from lightning_tricks.callbacks.batch_trick import BatchTrick

__all__ = ["BatchTrick"]

__version__ = "0.1.0"
