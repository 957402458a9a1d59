"""Which names in `Host` and `Origin` a request may have: those that a web page of somebody else cannot make a browser
send.

A page whose name its owner has made to resolve to the gateway's address (DNS rebinding) is of the gateway's origin, as
far as a browser knows; only the name in `Host` tells. It never is an address, since those are not looked up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)")
_USUAL_PORTS = ("", "80", "443")
ANY = "*"


@dataclass(frozen=True)
class HostName:
    """The host of a header, in lower case and without brackets or a dot at its end, and its port if it has one."""

    name: str
    port: str = ""

    @classmethod
    def parse(cls, header: str) -> HostName | None:
        """The value of a `Host` header; None: it is none."""
        match = _HOST.fullmatch(header)
        if match is None:
            return None
        name = match[1].strip("[]").lower().removesuffix(".")
        return cls(name, match[2] or "") if name else None

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The IP address that it is; None: it is a name."""
        return as_address(self.name)

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine to whoever uses it. Browsers resolve `localhost` and what ends with it so."""
        address = self.address
        return self.name == "localhost" or self.name.endswith(".localhost") if address is None else address.is_loopback

    def is_at(self, other: HostName) -> bool:
        """Whether both are the same host and port; behind a proxy a usual port may be left out."""
        same_port = self.port == other.port or (self.port in _USUAL_PORTS and other.port in _USUAL_PORTS)
        return self.name == other.name and same_port


@dataclass(frozen=True)
class AllowedHosts:
    """What is allowed.

    Args:
        bound: the host that the gateway listens at. At one that stands for all addresses every address is allowed.
        names: further ones; `*.NAME` stands for all names that end so, `*` for all.
        origins: of web pages that may send requests; `*`: all.
    """

    bound: str
    names: Sequence[str] = ()
    origins: Sequence[str] = ()

    def allow_host(self, host: HostName) -> bool:
        """Whether a request may be sent to this host."""
        address, bound = host.address, as_address(self.bound)
        if host.is_loopback or host.name == self.bound.lower() or self._is_listed(host.name):
            return True
        everywhere = not self.bound or (bound is not None and bound.is_unspecified)
        return address is not None and (everywhere or address == bound)

    def allow_origin(self, origin: str, host: HostName | None) -> bool:
        """Whether a page of this origin may send a request to this host: its own page, one of this machine, one of a
        host that is configured, or one that is configured itself.
        """
        if ANY in self.origins or origin in self.origins:
            return True
        match = _ORIGIN.fullmatch(origin)
        page = None if match is None else HostName.parse(match[2])
        if page is None:
            return False
        own = host is not None and self.allow_host(host) and page.is_at(host)
        return own or page.is_loopback or self._is_listed(page.name)

    def _is_listed(self, name: str) -> bool:
        ends = [listed[1:] for listed in self.names if listed.startswith("*.")]
        return ANY in self.names or name in self.names or any(name.endswith(end) for end in ends)


def as_address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address of a text, one of IPv4 also where it is written as one of IPv6; None: it is no address."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
