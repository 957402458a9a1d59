"""Addresses of servers: as text always without user, password and query, which only the connection gets."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Self
from urllib.parse import parse_qsl, unquote

from trim.redaction import hide

_PARTS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?)([^/?#]*)([^?#]*)([?#].*)?", re.DOTALL)
_TOKEN = 12  # characters of a user that may be a token; a shorter one is a name
_BROKEN = re.compile(r"[^:@]*:(?!\d*$)")  # in front of a host: a password with one of / ? # in it


class Address(str):
    """An address as it may be shown. `user` (`NAME:PASSWORD`, percent-encoded) and `query` are what it had besides.

        >>> Address("http://me:secret@host:8000/v1?key=x")
        'http://host:8000/v1'

    What stands in place of an address is kept as it is, without what stands in front of an `@` in it.
    """

    user: str
    query: str

    def __new__(cls, text: str) -> Self:
        if isinstance(text, cls):
            return text
        match = _PARTS.fullmatch(text)
        assert match is not None
        scheme, authority, path, rest = (part or "" for part in match.groups())
        if "@" not in authority and "@" in path + rest and _BROKEN.match(authority):
            authority, path, rest = authority + path + rest, "", ""
        user, _, host = authority.rpartition("@")
        made = super().__new__(cls, f"{scheme}{host}{path}")
        made.user, made.query = user, rest.partition("#")[0].removeprefix("?")
        made._hide()
        return made

    def _hide(self) -> None:
        name, _, password = self.user.partition(":")
        token = name if not password or len(name) >= _TOKEN else ""
        for secret in (self.user, password, token, unquote(self.user), *(value for _, value in self.parameters)):
            hide(secret)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's names and values."""
        return parse_qsl(self.query, keep_blank_values=True)

    @property
    def whole(self) -> str:
        """The address with all that it had, for a configuration and nowhere else."""
        scheme, slashes, rest = self.rpartition("://")
        return f"{scheme}{slashes}{self.user}{'@' if self.user else ''}{rest}{'?' if self.query else ''}{self.query}"

    @property
    def headers(self) -> dict[str, str]:
        """The header that says who asks; none without a user."""
        if not self.user:
            return {}
        return {"Authorization": f"Basic {b64encode(unquote(self.user).encode()).decode()}"}
