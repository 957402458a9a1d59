"""API keys: a TOML file of hashes, and what each key may do.

    [[key]]
    name = "alice"
    sha256 = "..."             # of the key; `trim key alice` makes both
    requests_per_minute = 60   # this and the following are optional
    max_requests = 4           # at the same time
    spend_per_day = 1.5        # UTC, in the unit of the prices

A key has 256 random bits, so a plain hash cannot be searched for; comparison takes the same time for every key.
"""

from __future__ import annotations

import hmac
import secrets
import tomllib
from dataclasses import MISSING, dataclass, fields
from hashlib import sha256
from pathlib import Path

from trim.errors import ConfigError
from trim.server.schemas import Refusal


@dataclass(frozen=True)
class Key:
    """Who asks, and what they may do. None: no limit."""

    name: str
    sha256: str = ""
    requests_per_minute: int | None = None
    max_requests: int | None = None
    spend_per_day: float | None = None


EVERYBODY = Key("everybody")
"""Whoever asks where there is no file of keys."""


def new_secret() -> str:
    """A new API key."""
    return f"trim-{secrets.token_urlsafe(32)}"


def hash_of(secret: str) -> str:
    """What stands in the file."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class Keys:
    """The keys of a file; without one everybody may ask.

    Raises:
        ConfigError: unreadable, or an entry is wrong; says which.
    """

    def __init__(self, path: str = "") -> None:
        self._keys = _read(Path(path)) if path else None

    def who(self, authorization: str | None) -> Key:
        """Whose key a request's `Authorization` header has.

        Raises:
            Refusal: 401, none or an unknown one.
        """
        if self._keys is None:
            return EVERYBODY
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise Refusal(401, "an API key is needed: Authorization: Bearer KEY", "invalid_api_key")
        given, found = hash_of(secret.strip()), None
        for key in self._keys:  # all of them, whichever it is
            if hmac.compare_digest(key.sha256, given):
                found = key
        if found is None:
            raise Refusal(401, "the API key is not known", "invalid_api_key")
        return found


def _read(path: Path) -> list[Key]:
    try:
        entries = tomllib.loads(path.read_text("utf-8")).get("key", [])
    except OSError as error:
        raise ConfigError(f"[serve] keys: {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"[serve] keys: {path} is no TOML: {error}") from None
    if not isinstance(entries, list):
        raise ConfigError(f"[serve] keys: {path}: write each key as [[key]]")
    keys = [_entry(entry, f"{path}, key {number}") for number, entry in enumerate(entries, 1)]
    names = [key.name for key in keys]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"[serve] keys: {path}: {', '.join(sorted(twice))} stands there twice")
    return keys


def _entry(entry: object, where: str) -> Key:
    known = {field.name: field for field in fields(Key)}
    if not isinstance(entry, dict) or (unknown := set(entry) - set(known)):
        raise ConfigError(f"{where}: unknown {', '.join(sorted(unknown)) if isinstance(entry, dict) else 'entry'}")
    for name, value in entry.items():
        if known[name].default in (MISSING, ""):
            right = isinstance(value, str)
        else:
            right = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if not right:
            raise ConfigError(f"{where}: {name} = {value!r} is not what belongs there")
    name, digest = entry.get("name"), entry.get("sha256", "")
    if not name or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ConfigError(f"{where}: name and sha256 (64 hexadecimal digits) are needed")
    return Key(**entry)
