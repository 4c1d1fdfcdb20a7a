"""Runs of a study: their training, their parts, their files and their order."""
