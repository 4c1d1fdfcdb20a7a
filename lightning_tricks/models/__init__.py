"""The classifier that the command trains, and its backbones."""
