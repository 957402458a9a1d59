"""Every key that a configuration can have, for the documentation and for the names of environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trim.config.settings import Config
from trim.config.validation import KeyPath, allowed, fields, key_paths, table_of


@dataclass(frozen=True)
class Key:
    """A key of the configuration.

    Args:
        path: tables and key, such as `("weak", "prices", "prompt")`.
        allowed: what it accepts, in words.
        default: without a file and the environment, of the embedded pair; None: it is not set.
        description: what it means, with the unit.
    """

    path: KeyPath
    allowed: str
    default: float | str | None
    description: str

    @property
    def table(self) -> str:
        """The table it stands in, as in a file: `weak.prices`."""
        return ".".join(self.path[:-1])

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return variable(self.path)


def variable(path: KeyPath) -> str:
    """The environment variable that overrides this key: `TRIM_WEAK__PRICES__PROMPT`."""
    return "TRIM_" + "__".join(path).upper()


def reference() -> tuple[Key, ...]:
    """All keys, in the order of the tables and of the keys in them."""
    return tuple(map(_key, key_paths(Config)))


def tables() -> dict[str, str]:
    """What each table is about, by its name in a file."""
    found = fields(Config).items()
    return {".".join(path): field.description or "" for path, field in found if table_of(field) is not None}


def _key(path: KeyPath) -> Key:
    field = fields(Config)[path]
    default: Any = Config()
    for name in path:
        default = getattr(default, name)
    return Key(path, allowed(field), None if default == () else default, field.description or "")
