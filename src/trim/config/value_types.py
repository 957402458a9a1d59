"""The types of values in a configuration: what each may be, checked where it is set."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Strict, ValidatorFunctionWrapHandler, WrapValidator

from trim.addresses import Address
from trim.config.validation import broken_rule

Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]  # no 3.0, no true
Number = Annotated[float, Strict()]  # 3 is a number, true and "3" are not


def _address(value: object, text: ValidatorFunctionWrapHandler) -> Address:
    return value if isinstance(value, Address) else Address(str(text(value)))


Url = Annotated[str, Strict(), WrapValidator(_address)]  # as text without user, password and query


def _checked_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+", origin):
            raise broken_rule(f"{origin!r} is no origin: write 'https://HOST' or 'https://HOST:PORT', or '*' for all")
    return origins


Origins = Annotated[tuple[Text, ...], AfterValidator(_checked_origins)]


def _checked_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        if not re.fullmatch(r"\*|(\*\.)?[A-Za-z0-9_-][A-Za-z0-9._-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*", host):
            words = "write 'trim.example.org', '*.example.org' or an address, without http:// and port, or '*' for all"
            raise broken_rule(f"{host!r} is no host: {words}")
    return tuple(host.lower().removesuffix(".") for host in hosts)


Hosts = Annotated[tuple[Text, ...], AfterValidator(_checked_hosts)]


def _checked_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            raise broken_rule(f"{network!r} is no address or network: write '10.0.0.7' or '10.0.0.0/8'") from None
    return networks


Networks = Annotated[tuple[Text, ...], AfterValidator(_checked_networks)]


def _checked_body(text: str) -> str:
    """Of `extra_body`; raises what the sentence of an error is made from."""
    if given := set(_object(text)) & {"model", "messages", "prompt", "stream"}:
        raise broken_rule(f"{min(given)!r} is a part of every request and cannot be set here")
    return text


def _checked_headers(text: str) -> str:
    """Of `headers`. Values may be secrets: no error shows one."""
    for name, value in _object(text).items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise broken_rule(f"{name!r} is no name of a header")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise broken_rule(f"the value of {name} must be a text of ASCII characters on one line")
    return text


def _object(text: str) -> dict[str, object]:
    """The table that a text of JSON holds; empty: none."""
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise broken_rule("it must be a table, or the text of a JSON object")
    return found


Body = Annotated[Text, AfterValidator(_checked_body)]
Headers = Annotated[Text, AfterValidator(_checked_headers)]
