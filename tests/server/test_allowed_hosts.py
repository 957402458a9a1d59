"""Names of the gateway: loopback, where it listens, and what is configured; nothing that only looks like these."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.server.allowed_hosts import AllowedHosts, HostName

LOOPBACK = ["localhost", "LocalHost:8080", "localhost.", "app.localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:8080"]
LOOPBACK += ["[::ffff:127.0.0.1]", "127.0.0.1"]
FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "evil.example:8080",
    "8.8.8.8",
    "[2001:db8::1]",
]
FOREIGN += ["notlocalhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::]", "192.168.0.7", "[::ffff:8.8.8.8]"]
NONE = ["", ":", ".", "a b", "localhost@evil.example", "evil.example#localhost", "[::1", "localhost:99999999"]
NONE += ["localhost:80:80", "localhost/evil", "http://localhost", "localhost,evil.example", "localhost:x", " localhost"]


def allows(allowed: AllowedHosts, header: str) -> bool:
    host = HostName.parse(header)
    return host is not None and allowed.allow_host(host)


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.7"])
def test_loopback_is_allowed_wherever_it_listens(bound: str) -> None:
    assert [name for name in LOOPBACK if not allows(AllowedHosts(bound), name)] == []


def test_other_names_are_not() -> None:
    assert [name for name in (*FOREIGN, *NONE) if allows(AllowedHosts("127.0.0.1"), name)] == []
    assert [name for name in NONE if allows(AllowedHosts("0.0.0.0", ("*",)), name)] == []


@pytest.mark.parametrize(
    ("bound", "allowed", "refused"),
    [
        ("10.0.0.7", "10.0.0.7:8080", "10.0.0.8"),
        ("::ffff:10.0.0.7", "10.0.0.7", "10.0.0.8"),
        ("fe80::1%eth0", "[fe80::1]", "[fe80::2]"),
        ("gpu.example", "GPU.example:80", "gpu.example.evil.org"),
        ("0.0.0.0", "10.0.0.8:8080", "gpu.example"),  # any address: names are what rebinding needs
        ("::", "[2001:db8::1]", "gpu.example"),
        ("", "192.168.1.4", "gpu.example"),
    ],
)
def test_where_it_listens_is_allowed(bound: str, allowed: str, refused: str) -> None:
    assert allows(AllowedHosts(bound), allowed)
    assert not allows(AllowedHosts(bound), refused)


def test_configured_names() -> None:
    allowed = AllowedHosts("127.0.0.1", ("trim.example", "*.trim.example", "2001:db8::1"))
    for name in ("trim.example", "TRIM.example:443", "a.trim.example", "a.b.trim.example", "[2001:db8::1]:80"):
        assert allows(allowed, name), name
    for name in ("atrim.example", "trim.example.evil.org", ".trim.example.org", "example"):
        assert not allows(allowed, name), name
    assert allows(AllowedHosts("127.0.0.1", ("*",)), "whatever.example")


@given(st.text(max_size=30) | st.from_regex(r"[a-z0-9.\[\]:@#%/-]{1,30}", fullmatch=True))
def test_only_loopback_passes_by_default(header: str) -> None:
    if allows(AllowedHosts("127.0.0.1"), header):
        name = header.lower()
        assert "localhost" in name or name.startswith(("127.", "[")), header


PAGES = {
    "http://localhost:5173": True,
    "http://127.0.0.1": True,
    "http://[::1]:3000": True,
    "https://trim.example": True,
    "http://trim.example:8080": True,
    "https://page.example": True,
    "https://page.example:444": False,
    "http://page.example": False,
    "https://evil.example": False,
    "https://trim.example.evil.org": False,
    "http://10.0.0.7:8080": True,  # the gateway's own page
    "http://10.0.0.7:9000": False,
    "http://10.0.0.8:8080": False,
    "null": False,
    "": False,
    "file://": False,
    "chrome-extension://abc": False,
    "http://localhost@evil.example": False,
    "http://evil.example#localhost": False,
    "http://localhost/ http://evil.example": False,
    "https://trim.example, https://evil.example": False,
}


@pytest.mark.parametrize("page", PAGES)
def test_pages(page: str) -> None:
    allowed = AllowedHosts("0.0.0.0", ("trim.example",), ("https://page.example",))
    assert allowed.allow_origin(page, HostName("10.0.0.7", "8080")) is PAGES[page]
    assert AllowedHosts("0.0.0.0", (), ("*",)).allow_origin(page, None)


def test_a_proxy_for_tls_may_leave_the_port_out() -> None:
    allowed = AllowedHosts("0.0.0.0")
    for host in ("10.0.0.7", "10.0.0.7:443", "10.0.0.7:80"):
        assert allowed.allow_origin("https://10.0.0.7", HostName.parse(host))
    assert not allowed.allow_origin("https://10.0.0.7", HostName.parse("10.0.0.7:8080"))
