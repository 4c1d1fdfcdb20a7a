"""The classifier that the command trains, and its backbones."""

from lightning_tricks.models.classifier import Classifier

__all__ = ["Classifier"]
