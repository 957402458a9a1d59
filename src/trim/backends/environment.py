"""What the environment says about connections: API keys, proxies, certificates. What cannot be used is one sentence."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.util import find_spec
from urllib.parse import urlsplit

from trim.errors import ConfigError

_PROXIES = ("all_proxy", "https_proxy", "http_proxy")
_SCHEMES = ("http", "https", "socks5", "socks5h")


class ApiKey(str):
    """A key from the environment: `variable` holds it, and is what may be shown of it."""

    variable: str

    def __new__(cls, key: str, variable: str) -> ApiKey:
        made = super().__new__(cls, key)
        made.variable = variable
        return made

    def __repr__(self) -> str:
        return f"ApiKey(variable={self.variable!r})"


def usable_key(key: str, source: str) -> str:
    """An API key as a header can carry it: without the white space around it, such as the end of a file's line.

    Args:
        key: as it was given.
        source: what errors call it; they never show the key.

    Raises:
        ConfigError: it is empty, or has characters that no header carries.
    """
    stripped = key.strip()
    if not stripped:
        raise ConfigError(f"{source} is empty: an API key is needed")
    if not re.fullmatch(r"[!-~]+", stripped):
        raise ConfigError(
            f"{source} is no API key: it has white space or characters outside ASCII within it; copy the key again"
        )
    return stripped


def check_connections() -> None:
    """See whether the proxies and certificates that the environment names can be used, before the HTTP library tries.

    Raises:
        ConfigError: names the variable; a proxy's address may hold a password and is not shown.
    """
    for name, value in os.environ.items():
        if name.lower() in _PROXIES and value:
            _check_proxy(name, value)
    if certificates := os.environ.get("SSL_CERT_FILE"):
        _check_certificates(certificates)


def _check_proxy(name: str, value: str) -> None:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        usable = parts.scheme in _SCHEMES and re.fullmatch(r"[^\s/]+", parts.hostname or "") and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{name} is not the address of a proxy, such as http://proxy:3128: correct it or unset it")
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(f"{name} names a SOCKS proxy, which needs a package: pip install socksio, or unset it")


@cache  # reading a hundred certificates takes 20 ms
def _check_certificates(path: str) -> None:
    import ssl

    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        words = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"SSL_CERT_FILE={path} cannot be used ({words}): name a file of certificates or unset it"
        ) from None
