"""The attacks, one file each."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from benchmarks.chaos.attack import Attack


def all_attacks() -> dict[str, type[Attack]]:
    """The attacks of all files in this folder, by name."""
    found: dict[str, type[Attack]] = {}
    for module in iter_modules(__path__):
        for value in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Attack) and "name" in vars(value):
                found[value.name] = value
    return found
