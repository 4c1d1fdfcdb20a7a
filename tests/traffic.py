"""Counts the bytes that a piece of code reads from and writes to memory, the same number on every machine."""

from collections import Counter

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# In place, but without a look at what was there.
OVERWRITES = ("copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_")
# They read one element of the source for each of the result.
PICKS = ("index", "index_select", "gather", "take", "embedding")


class Traffic(TorchDispatchMode):
    """Sums what each operation reads and writes. Views and bare allocations count nothing, an expanded element once."""

    def __init__(self):
        super().__init__()
        self.by_operation = Counter()

    @property
    def bytes(self):
        return self.by_operation.total()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.by_operation[str(func)] += _moved(func, args, kwargs, result)
        return result


def traffic_of(function):
    """The bytes that one call of the function moves."""
    with Traffic() as traffic:
        function()
    return traffic.bytes


def _moved(func, args, kwargs, result):
    schema, name = func._schema, func._schema.name.removeprefix("aten::")
    if name.startswith(("empty", "new_empty")) or _is_view(schema):
        return 0
    moved = 0
    takes_only_the_shape = name.startswith("new_") or name.endswith("_like")
    for position, argument in enumerate(schema.arguments):
        given = args[position] if position < len(args) else kwargs.get(argument.name)
        for tensor in _tensors(given):
            if takes_only_the_shape:
                continue
            if argument.alias_info is None or not argument.alias_info.is_write:
                picked = name in PICKS and argument.name in ("self", "weight")
                moved += result.numel() * tensor.element_size() if picked else _footprint(tensor)
            elif argument.is_out or name in OVERWRITES:
                moved += _footprint(tensor)
            else:
                moved += 2 * _footprint(tensor)
    results = result if isinstance(result, (tuple, list)) else [result]
    for tensor, returned in zip(results, schema.returns, strict=False):
        if returned.alias_info is None:
            moved += sum(map(_footprint, _tensors(tensor)))
    return moved


def _is_view(schema):
    return any(returned.alias_info is not None and not returned.alias_info.is_write for returned in schema.returns)


def _tensors(value):
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _footprint(tensor):
    distinct = torch.Size(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return distinct.numel() * tensor.element_size()
