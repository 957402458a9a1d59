"""Keys, proxies and certificates from the environment: what cannot be used is one sentence that shows no secret."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from trim.backends.environment import check_connections, usable_key
from trim.errors import ConfigError


@pytest.mark.parametrize("key", ["sk-abc", "sk-abc\n", "sk-abc\r\n", " sk-abc\t"])
def test_white_space_around_a_key_is_left_out(key: str) -> None:
    assert usable_key(key, "KEY") == "sk-abc"


@pytest.mark.parametrize(
    "key", ["", " \n", "sk-äbc", "sk-“abc”", "sk abc", "sk-a\nbc", "sk-a\x00bc", "sk-\udcff", "\ufeffsk-abc"]
)
def test_other_keys_are_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match=r"^\[weak\] api_key_env: KEY is ") as raised:
        usable_key(key, "[weak] api_key_env: KEY")
    assert "sk" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "ftp://u:secret@proxy"),
        ("http_proxy", "http://u:secret@pro xy"),
        ("HTTPS_PROXY", "http://[u:secret"),
        ("https_proxy", "http://u:secret@proxy:99999"),
        ("ALL_PROXY", "http://u:secret@proxy:port"),
        ("all_proxy", "http://"),
        ("ALL_PROXY", ":::secret"),
    ],
)
def test_a_malformed_proxy_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^{name} is not the address of a proxy") as raised:
        check_connections()
    assert "secret" not in str(raised.value)


def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://u:secret@localhost:1080")
    if find_spec("socksio") is not None:
        check_connections()
        return
    with pytest.raises(ConfigError, match=r"^ALL_PROXY names a SOCKS proxy.*: pip install socksio"):
        check_connections()


@pytest.mark.parametrize("value", ["http://proxy:3128", "proxy:3128", "http://u:p@proxy", "http://[::1]:3128", ""])
def test_usual_proxies_pass(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    check_connections()


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for path, words in (
        (tmp_path / "absent.pem", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (rubbish, "it holds no certificates"),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(ConfigError, match=r"^SSL_CERT_FILE=") as raised:
            check_connections()
        assert f"{path} cannot be used ({words})" in str(raised.value)
    monkeypatch.setenv("SSL_CERT_FILE", "")
    check_connections()
