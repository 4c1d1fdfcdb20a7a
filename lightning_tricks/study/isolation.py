"""Keeps a run from changing the state of the process; a barrier for ranks."""

import logging
import random
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_global_generators(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and torch; see :func:`isolated_generators`."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def await_other_ranks() -> None:
    """In a distributed run, waits for all ranks, so that they see what rank 0 has written."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


@contextmanager
def isolated_generators() -> Iterator[None]:
    """Restores the states of the global generators, also after an exception."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)


@contextmanager
def keyboard_interrupt_stays_one() -> Iterator[None]:
    """Turns the SystemExit that Lightning raises on Ctrl-C into KeyboardInterrupt, and restores the SIGINT handler."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def quiet() -> Iterator[None]:
    """Hides Lightning's notes on the hardware and on the end of each fit; other warnings still show."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The .*dataloader.* does not have many workers")
            warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
