"""Models that write steps: behind servers over HTTP, in this process, or replayed from a record."""

from __future__ import annotations

_MOVED = {
    "Backends": "trim.config.factory",
    "open_backends": "trim.config.factory",
    "open_prm": "trim.config.factory",
}
"""Names of earlier versions, and the modules that have them today."""


def __getattr__(name: str) -> object:
    """Say where a name of an earlier version is today."""
    if name in _MOVED:
        raise ImportError(f"trim.backends.{name} has moved: from {_MOVED[name]} import {name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
