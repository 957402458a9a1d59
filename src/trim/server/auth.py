"""API keys: a TOML file of hashes, and what each key may do.

    [[key]]
    name = "alice"
    sha256 = "..."             # of the key; `trim key alice` prints both
    requests_per_minute = 60   # this and the following are optional
    max_requests = 4           # at the same time
    spend_per_day = 1.5        # UTC, in dollars; spend_per_hour likewise

A key has 256 random bits, so a plain hash cannot be reversed by search. A comparison takes the same time for every key.
"""

from __future__ import annotations

import hmac
import re
import secrets
import tomllib
from hashlib import sha256
from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from trim.config.validation import sentence
from trim.config.value_types import Number, Text, Whole
from trim.errors import ConfigError
from trim.server.api_error import ApiError


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ApiKey:
    """A client and its limits. None: no limit."""

    name: Text = ""
    sha256: Text = ""
    requests_per_minute: Number | None = Field(default=None, ge=0)
    max_requests: Whole | None = Field(default=None, ge=0)
    spend_per_day: Number | None = Field(default=None, ge=0)
    spend_per_hour: Number | None = Field(default=None, ge=0)


ANONYMOUS = ApiKey("everybody")
"""Every client of a gateway without a file of keys; usage is stored under this name."""


def generate_key() -> str:
    """A new random API key."""
    return f"trim-{secrets.token_urlsafe(32)}"


def hash_key(secret: str) -> str:
    """The hash of a key, as the file has it."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class ApiKeys:
    """The keys in a file. Without a file no key is needed.

    Raises:
        ConfigError: the file cannot be read, or an entry is not valid; says which.
    """

    def __init__(self, path: str = "") -> None:
        self._keys = _read(Path(path)) if path else None

    @property
    def cap_spend(self) -> bool:
        """Whether a key has a limit in dollars."""
        return any(limit is not None for key in self._keys or () for limit in (key.spend_per_day, key.spend_per_hour))

    def authenticate(self, authorization: str | None) -> ApiKey:
        """The key in a request's `Authorization` header.

        Raises:
            ApiError: 401, it has none or an unknown one.
        """
        if self._keys is None:
            return ANONYMOUS
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise ApiError(401, "an API key is needed: Authorization: Bearer KEY", "invalid_api_key")
        given, found = hash_key(secret.strip()), None
        for key in self._keys:  # compare with all of them, so that the time does not tell which one matched
            if hmac.compare_digest(key.sha256, given):
                found = key
        if found is None:
            raise ApiError(401, "unknown API key", "invalid_api_key")
        return found


def _read(path: Path) -> list[ApiKey]:
    try:
        entries = tomllib.loads(path.read_text("utf-8")).get("key", [])
    except OSError as error:
        raise ConfigError(f"[serve] keys: {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"[serve] keys: {path} is not valid TOML: {error}") from None
    if not isinstance(entries, list):
        raise ConfigError(f"[serve] keys: {path}: write each key as [[key]]")
    keys = [_entry(entry, f"{path}, key {number}") for number, entry in enumerate(entries, 1)]
    names = [key.name for key in keys]
    if duplicates := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"[serve] keys: {path}: duplicate name {', '.join(sorted(duplicates))}")
    return keys


def _entry(entry: object, where: str) -> ApiKey:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: write each key as [[key]]")
    try:
        key = ApiKey(**entry)
    except ValidationError as error:
        _, words = sentence(error.errors()[0], ApiKey)
        raise ConfigError(f"{where}: {words}") from None
    if not key.name or not re.fullmatch(r"[0-9a-f]{64}", key.sha256):
        raise ConfigError(f"{where}: name and sha256 (64 hexadecimal digits) are needed")
    return key
