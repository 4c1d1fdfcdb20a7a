"""Training tricks of image classification, each one line in ``Trainer(callbacks=[...])``."""

__version__ = "0.1.0"
