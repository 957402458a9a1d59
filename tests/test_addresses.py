"""An address is shown without user, password and query, whatever is done with it; the connection gets them."""

from __future__ import annotations

import copy
import json
import pickle
from base64 import b64decode
from dataclasses import asdict, replace
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim.addresses import Address
from trim.config.settings import Config, ModelSettings, PrmSettings

WHOLE = "http://me:p%40ss-word@host:8000/v1?key=q-u-e-r-y&empty="


def test_its_parts() -> None:
    address = Address(WHOLE)
    assert address == "http://host:8000/v1"
    assert dict(address.parameters) == {"key": "q-u-e-r-y", "empty": ""}
    assert b64decode(address.headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss-word"
    assert address.whole == WHOLE
    assert Address(address) is address


@pytest.mark.parametrize("text", ["", "http://host/v1", "host:1", "http://[::1", "x y", "http://host/@me"])
def test_what_has_no_secret_stays(text: str) -> None:
    address = Address(text)
    assert (address, address.headers, address.parameters, address.whole) == (text, {}, [], text)


@settings(deadline=None, max_examples=25)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8), st.booleans())
def test_a_password_is_in_no_text_of_it(tail: str, quoted: bool) -> None:
    secret = f"pw{tail}"
    address = Address(f"http://me:{quote(secret, safe='') if quoted else secret}@host/v1")
    for text in (str(address), repr(address), f"{address}", address + "/x", json.dumps(address)):
        assert secret not in text
    if quoted:
        assert b64decode(address.headers["Authorization"][6:]).decode() == f"me:{secret}"


def test_copies_keep_what_is_not_shown() -> None:
    address = Address(WHOLE)
    for other in (copy.deepcopy(address), pickle.loads(pickle.dumps(address))):
        assert (other, other.whole) == (address, WHOLE)


def test_settings_show_none_and_keep_all() -> None:
    weak = ModelSettings(model=f"vllm/m@{WHOLE}", headers={"X-Token": "h-e-a-d-e-r"})  # type: ignore[arg-type]
    prm = PrmSettings(model=f"vllm/m@{WHOLE}")
    config = Config(weak, replace(weak, model="n"), replace(prm, timeout=3.0))
    for made in (config, replace(config, weak=replace(config.weak, retries=1))):
        shown = repr(made) + str(made)
        assert not any(secret in shown for secret in ("p%40ss", "p@ss", "q-u-e-r-y", "h-e-a-d-e-r", "me:"))
        for role in made.roles().values():
            assert Address(role.base_url).whole == WHOLE
    assert "p%40ss" not in json.dumps(asdict(config.weak))
