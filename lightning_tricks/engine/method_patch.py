"""A stand-in for one method of one object, which leaves nothing behind when it is removed."""

import inspect
from collections.abc import Callable
from typing import Any

_ABSENT = "absent"  # a plain value, so that a copied or pickled patch still recognises it


class MethodPatch:
    """Takes the place of ``owner.name`` in the instance's ``__dict__`` and calls ``around(original, *args)`` instead.

    Only the owner and the instance attribute that was replaced are stored, never a bound method, so that the patch
    can be pickled and deep-copied with its owner. A copy belongs to no run: it calls the original, nothing else.

    Args:
        owner: the object whose method is replaced, for example a LightningModule.
        name: the method's name.
        around: called with the original method and the call's own arguments; its result is the call's result.
    """

    def __init__(self, owner: object, name: str, around: Callable[..., Any]) -> None:
        self.owner = owner
        self.name = name
        self.replaced = vars(owner).get(name, _ABSENT)
        self.around: Callable[..., Any] | None = around

    @property
    def original(self) -> Callable[..., Any]:
        """The method that this patch stands in for."""
        if isinstance(self.replaced, str):
            return getattr(type(self.owner), self.name).__get__(self.owner)
        return self.replaced

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The innermost function: Lightning looks for a signature through one level of wrapping only."""
        return inspect.unwrap(self.original)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls ``around`` with the original and the arguments; a copy calls the original."""
        if self.around is None:
            return self.original(*args, **kwargs)
        return self.around(self.original, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {"owner": self.owner, "name": self.name, "replaced": self.replaced, "around": None}

    def install(self) -> None:
        """Puts the patch in place."""
        vars(self.owner)[self.name] = self

    def remove(self) -> None:
        """Puts back what was there. Where somebody has wrapped the patch since, it stays, but does nothing more."""
        self.around = None
        if vars(self.owner).get(self.name) is not self:
            return
        if isinstance(self.replaced, str):
            del vars(self.owner)[self.name]
        else:
            vars(self.owner)[self.name] = self.replaced


def remove_patches(owner: object, name: str) -> None:
    """Removes every patch of ``owner.name`` that a run which ended badly has left in place."""
    while isinstance(patch := vars(owner).get(name), MethodPatch):
        patch.remove()
