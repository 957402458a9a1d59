"""API keys: who may send requests, and the messages for invalid key files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.gateway import ask, serving, simulated
from trim.cli.main import main
from trim.errors import ConfigError
from trim.server.auth import ApiKeys, hash_key


def key_file(folder: Path, capsys: pytest.CaptureFixture[str], **limits: object) -> tuple[str, str]:
    """A file with one key, and the key."""
    assert main(["key", "alice"]) == 0
    told, entry = capsys.readouterr().out.split("\n\n")
    lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
    (folder / "keys.toml").write_text(f"{entry}{lines}")
    return str(folder / "keys.toml"), told.split()[4]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_request_needs_a_key_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = key_file(tmp_path, capsys)
    assert key not in Path(path).read_text()
    with serving(simulated(keys=path)) as served:
        assert served.post(ask(), headers=bearer(key)).status_code == 200
        assert served.get("/v1/models", headers=bearer(key)).status_code == 200
        for headers in (
            {},
            bearer("trim-other"),
            {"authorization": key},
            {"authorization": "Bearer"},
            {"authorization": b"Bearer \xff"},
        ):
            answer = served.post(ask(), headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert served.get("/v1/models", headers=headers).status_code == 401
        assert served.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[key]]\nname = 'a'", "sha256"),
        ("[[key]]\nname = 'a'\nsha256 = 'xyz'", "sha256"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nspend = 1", "unknown key 'spend'; there are name"),
        (
            f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nspend_per_day = -1",
            "spend_per_day = -1 must be a number of at least 0",
        ),
        (f"[[key]]\nname = 3\nsha256 = '{'0' * 64}'", "name = 3 must be a string"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\n" * 2, "duplicate name"),
        ("key = 3", "[[key]]"),
        ("key", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_file_of_keys_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "keys.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        ApiKeys(str(tmp_path / "keys.toml"))
    assert words in str(error.value)


def test_a_key_sees_its_own_requests_only(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text("".join(f'[[key]]\nname = "{k}"\nsha256 = "{hash_key(k)}"\n' for k in ("anna", "ben")))
    for seen_by_all in (False, True):  # which is about gateways without keys
        with serving(simulated(keys=str(keys), recent_requests=seen_by_all, max_tokens=60)) as served:
            served.post(ask("asked by anna"), headers=bearer("anna"))
            served.post(ask("asked by ben"), headers=bearer("ben"))
            served.spent(2)
            for key, other in (("anna", "ben"), ("ben", "anna")):
                told = served.get("/v1/trim/recent", headers=bearer(key))
                assert [recent["question"] for recent in told.json()["recent"]] == [f"asked by {key}"]
                assert told.json()["day"]["requests"] == 1
                assert other not in told.text
            for headers in ({}, bearer("carl")):
                assert served.get("/v1/trim/recent", headers=headers).status_code == 401


def test_without_keys_nobody_sees_requests_unless_asked() -> None:
    for shown, count in ((False, 0), (True, 1)):
        with serving(simulated(recent_requests=shown, max_tokens=60)) as served:
            served.post(ask("asked by somebody"))
            served.spent(1)
            for headers in ({}, bearer("anna")):
                assert len(served.get("/v1/trim/recent", headers=headers).json()["recent"]) == count
