"""Without keys the gateway listens at loopback only, whatever that is called, unless it is told otherwise."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from trim.cli.main import main
from trim.config.settings import ServeSettings
from trim.errors import ConfigError
from trim.server.exposure import check_exposure

LOOPBACK = ["127.0.0.1", "127.0.0.2", "localhost", "::1", "::ffff:127.0.0.1", "127.1", "0x7f000001"]
OPEN = ["0.0.0.0", "::", "", "0", "10.0.0.7", "192.168.1.4", "::ffff:10.0.0.7", "::ffff:0.0.0.0", "2001:db8::1", "1.2"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_needs_no_keys(host: str) -> None:
    check_exposure(ServeSettings(host=host))


@pytest.mark.parametrize("host", OPEN)
def test_everything_else_does(host: str) -> None:
    with pytest.raises(ConfigError, match=r"reached from other machines.*trim key.*--keys.*--insecure"):
        check_exposure(ServeSettings(host=host))
    check_exposure(ServeSettings(host=host, keys="keys.toml"))
    check_exposure(ServeSettings(host=host, insecure=True))


def test_a_name_is_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"gpu": ["10.0.0.7"], "both": ["127.0.0.1", "10.0.0.7"], "here": ["127.0.0.1", "::1"]}

    def look_up(host: str, *_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    check_exposure(ServeSettings(host="here"))
    for host in ("gpu", "both"):
        with pytest.raises(ConfigError, match=rf"host {host} \(10\.0\.0\.7\) is reached"):
            check_exposure(ServeSettings(host=host))


@pytest.mark.parametrize("host", ["no such host", "a" * 300, "host.invalid"])
def test_no_such_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if host == "host.invalid":  # without asking a name server
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ConfigError, match=r"\[serve\] host "):
        check_exposure(ServeSettings(host=host))


@pytest.mark.parametrize("more", [[], ["--workers", "2"]])
def test_the_command_refuses_in_one_sentence(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trim.toml").write_text("[serve]\nport = 0\n")
    assert main(["serve", "--config", str(tmp_path / "trim.toml"), "--host", "0.0.0.0", *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trim: [serve] host 0.0.0.0 is reached from other machines")
