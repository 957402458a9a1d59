"""Addresses lose user, password and query in every text, and a secret goes in every form in which it travels."""

from __future__ import annotations

import logging
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.redaction import HIDDEN, RedactingFormatter, hide, redacted

ADDRESSES = {
    "http://me:pw@host/v1": "http://host/v1",
    "POST https://me@host:8/v1?key=x&y=z failed": "POST https://host:8/v1 failed",
    "vllm/m@http://me:p%40w@host": "vllm/m@http://host",
    "vllm/m@http://me:p@w@host": "vllm/m@http://host",
    "'http://me:p/w@host/v1' is wrong": "'http://host/v1' is wrong",
    "http://me:p?w#x@host/v1": "http://host/v1",
    "http://me:8p@host:8/v1": "http://host:8/v1",
    '{"url": "http://me:pw@host/v1?k=v", "n": 1}': '{"url": "http://host/v1", "n": 1}',
    "postgresql://me:pw@db:5432/trim?password=pw": "postgresql://db:5432/trim",
    "socks5://me:pw@proxy:1080": "socks5://proxy:1080",
    "http://host/@me/v1 and me@host": "http://host/@me/v1 and me@host",
    "http://host:8000/@me": "http://host:8000/@me",
    "(see https://host/v1?x=y)": "(see https://host/v1)",
    "is base_url right? a:b@c": "is base_url right? a:b@c",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    assert redacted(text) == ADDRESSES[text]


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=30))
def test_a_secret_in_every_form(tail: str) -> None:
    secret = f"s3cret{tail}"
    hide(secret)
    forms = [secret, quote(secret, safe=""), b64encode(secret.encode()).decode(), repr({"key": secret})]
    for form in forms:
        assert secret not in redacted(f"it said {form}!")
        assert form not in redacted(f"it said {form}!")
        assert secret not in str(ConfigError(f"it said {form}"))


def test_the_key_of_a_header_and_what_is_too_short() -> None:
    hide("Bearer abcdef-12345")
    hide("no")
    assert redacted("abcdef-12345, no, Bearer") == f"{HIDDEN}, no, Bearer"


def test_a_log_with_its_traceback() -> None:
    hide("planted-in-a-cause")
    try:
        try:
            raise KeyError("planted-in-a-cause")
        except KeyError as cause:
            raise ValueError("http://me:pw@host") from cause
    except ValueError as error:
        record = logging.LogRecord("x", 40, "", 1, "%s failed", ("planted-in-a-cause",), (type(error), error, None))
    text = RedactingFormatter("%(name)s %(message)s").format(record)
    assert "planted" not in text and "me:pw" not in text
    assert f"x {HIDDEN} failed" in text and "KeyError" in text and "http://host" in text
