"""What the package offers: each name in ``__all__`` of it and of its subpackages."""

import importlib
import inspect
import pkgutil

import lightning_tricks


def public_names():
    """Each public class and function once, by the path of its definition."""
    modules = [lightning_tricks]
    for found in pkgutil.walk_packages(lightning_tricks.__path__, "lightning_tricks."):
        if not found.name.endswith("__main__"):
            modules.append(importlib.import_module(found.name))
    public = [getattr(module, name) for module in modules for name in getattr(module, "__all__", [])]
    return {f"{it.__module__}.{it.__qualname__}": it for it in public if not inspect.ismodule(it)}
