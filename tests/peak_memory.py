"""Counts the memory that a piece of code holds at most beside what it was given, the same number on every machine."""

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Adds up, after each operation, the storages that were made inside the block and are still alive."""

    def __init__(self):
        super().__init__()
        self.bytes = 0
        self._given = set()
        self._made = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for storage in _storages((args, kwargs)):
            if StorageWeakRef(storage).cdata not in self._made:
                self._given.add(StorageWeakRef(storage).cdata)
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            reference = StorageWeakRef(storage)
            if reference.cdata not in self._given:
                self._made[reference.cdata] = reference, storage.nbytes()
        self._made = {key: entry for key, entry in self._made.items() if not entry[0].expired()}
        self.bytes = max(self.bytes, sum(nbytes for _, nbytes in self._made.values()))
        return result


def peak_memory_of(function):
    """The bytes that one call of the function holds at most, its result included."""
    with PeakMemory() as peak:
        function()
    return peak.bytes


def _storages(values):
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
