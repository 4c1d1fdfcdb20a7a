"""The random numbers of the batch tricks: a draw depends on its place in the run, never on what was drawn before."""

import zlib
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info


class BatchRandomness:
    """What one trick draws from in a run: for each batch a stretch of its own of one counter-based sequence.

    Philox computes its n-th number from n and a key. The key comes from the arguments, and a batch's stretch begins at
    its number times 2^128; so the generator of a batch is found without drawing what comes before it, and without the
    cost of seeding, which is several times that of a trick's draws.

    Args:
        seed: the run's seed, 0 or more.
        name: the trick's class name, so that adding a trick of another class changes no draw.
        ordinal: its position among the tricks of that class in the callback list.
        rank: the global rank of the process.
    """

    def __init__(self, seed: int, *, name: str, ordinal: int, rank: int) -> None:
        key = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()), ordinal, rank))
        self._bits = np.random.Philox(key)
        self._generator = np.random.Generator(self._bits)
        self._state: Any = self._bits.state  # numpy types it as what all its bit generators have in common

    def at(self, batch: int) -> np.random.Generator:
        """Returns the generator, set to where the draws of a batch begin; the next call sets the same one anew.

        Args:
            batch: the number of training batches completed before this one, over all epochs.
        """
        self._state["state"]["counter"][2] = batch
        self._bits.state = self._state
        return self._generator


class FreeGenerator:
    """The generator of a trick that is used outside a Trainer: one sequence, not tied to batches.

    It starts from the trick's seed, or from torch's initial seed (which is read, not drawn from), so that
    ``seed_everything`` starts it anew. Each worker of a data loader has a sequence of its own, which starts from the
    worker's seed too: that is another one in each epoch.
    """

    def __init__(self) -> None:
        self._started_from: tuple[int, int] | None = None
        self._generator = np.random.default_rng(0)

    def get(self, seed: int | None) -> np.random.Generator:
        """Returns the generator, started anew if what it starts from has changed."""
        worker = get_worker_info()
        start = (torch.initial_seed() if seed is None else seed, 0 if worker is None else 1 + worker.seed)
        if start != self._started_from:
            self._started_from = start
            self._generator = np.random.default_rng(np.random.SeedSequence(start[0], spawn_key=(start[1],)))
        return self._generator
