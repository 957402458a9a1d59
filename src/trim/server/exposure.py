"""Whether other machines reach the gateway: then it needs API keys, or to be told that it needs none."""

from __future__ import annotations

import socket

from trim.config.settings import ServeSettings
from trim.errors import ConfigError
from trim.server.allowed_hosts import as_address


def check_exposure(serve: ServeSettings) -> None:
    """Refuse to listen where everybody can spend money. Looks the name of a host up.

    Raises:
        ConfigError: it listens at more than loopback, without keys and without `insecure`; or there is no such host.
    """
    if serve.keys or serve.insecure:
        return
    found = _addresses(serve.host)
    if open_to := [text for text in found if (address := as_address(text)) is None or not address.is_loopback]:
        where = serve.host if serve.host in open_to else f"{serve.host or 'an empty host'} ({open_to[0]})"
        raise ConfigError(
            f"[serve] host {where} is reached from other machines, and everybody there could spend your money: make "
            "API keys (trim key NAME) and add --keys keys.toml, or add --insecure to allow it"
        )


def _addresses(host: str) -> list[str]:
    """What a server that is to listen at this host listens at."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        raise ConfigError(f"[serve] host {host!r}: {words or error}") from None
    return [str(address[0]) for *_, address in found]
