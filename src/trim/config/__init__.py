"""Settings from TOML and the environment, resolved into specs; opening the models they name."""

from __future__ import annotations

_SETTINGS = ("Budget", "Generation", "Model", "Policy", "Price", "Prm", "Serve")
_MOVED = {"load_config": "trim.config.loading", "Config": "trim.config.settings"}
_MOVED |= {f"{table}Settings": "trim.config.settings" for table in _SETTINGS}
"""Names of earlier versions, and the modules that have them today."""


def __getattr__(name: str) -> object:
    """Say where a name of an earlier version is today."""
    if name in _MOVED:
        raise ImportError(f"trim.config.{name} has moved: from {_MOVED[name]} import {name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
