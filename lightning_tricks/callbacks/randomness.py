"""The random numbers of the batch tricks: a draw depends on its place in the run, never on what was drawn before."""

import zlib

import numpy as np
import torch
from torch.utils.data import get_worker_info


def batch_generator(seed: int, *, name: str, ordinal: int, rank: int, batch: int) -> np.random.Generator:
    """Returns the generator of one trick for one batch.

    Args:
        seed: the run's seed, 0 or more.
        name: the trick's class name, so that adding a trick of another class changes no draw.
        ordinal: its position among the tricks of that class in the callback list.
        rank: the global rank of the process.
        batch: the number of training batches completed before this one, over all epochs.
    """
    key = (zlib.crc32(name.encode()), ordinal, rank, batch)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


class FreeGenerator:
    """The generator of a trick that is used outside a Trainer: one sequence, not tied to batches.

    It starts from the trick's seed, or from torch's initial seed (which is read, not drawn from), so that
    ``seed_everything`` starts it anew; each worker of a data loader has a sequence of its own.
    """

    def __init__(self) -> None:
        self._started_from: tuple[int, int] | None = None
        self._generator = np.random.default_rng(0)

    def get(self, seed: int | None) -> np.random.Generator:
        """Returns the generator, started anew if what it starts from has changed."""
        worker = get_worker_info()
        start = (torch.initial_seed() if seed is None else seed, 0 if worker is None else 1 + worker.id)
        if start != self._started_from:
            self._started_from = start
            self._generator = np.random.default_rng(np.random.SeedSequence(start[0], spawn_key=(start[1],)))
        return self._generator
