"""Web pages of other origins: only those that are configured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.gateway import Served, ask, serving, simulated
from trim.config.loading import load_config
from trim.config.settings import ServeSettings
from trim.errors import ConfigError
from trim.server.auth import generate_key, hash_key

PAGE = "https://chat.example.org"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type, x-stainless-os",
}


@pytest.fixture(scope="module")
def key() -> str:
    return generate_key()


@pytest.fixture(scope="module")
def served(key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    keys.write_text(f'[[key]]\nname = "ann"\nsha256 = "{hash_key(key)}"\n')
    with serving(simulated(cors_origins=(PAGE,), keys=str(keys), max_tokens=60)) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/models"])
def test_a_preflight_request_needs_no_key(served: Served, path: str) -> None:
    answer = served.client.options(served.url + path, headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_a_page_reads_answers_streams_and_errors(served: Served, key: str) -> None:
    known = {"origin": PAGE, "authorization": f"Bearer {key}"}
    for stream in (False, True):
        answer = served.post(ask(stream=stream), headers=known)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        assert "x-trim-policy" in answer.headers["access-control-expose-headers"]
    answer = served.post(ask(), headers={"origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, PAGE)


def test_other_pages_do_not(served: Served, key: str) -> None:
    other = {"origin": "https://example.com"}
    assert (
        "access-control-allow-origin"
        not in served.client.options(f"{served.url}/v1/models", headers=PREFLIGHT | other).headers
    )
    answer = served.post(ask(), headers={"authorization": f"Bearer {key}"} | other)
    assert "access-control-allow-origin" not in answer.headers


def test_without_the_setting_there_is_no_header() -> None:
    with serving(simulated()) as served:
        answer = served.client.options(f"{served.url}/v1/models", headers=PREFLIGHT)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (405, False)
        assert "access-control-allow-origin" not in served.post(ask(), headers={"origin": PAGE}).headers


def test_all_pages() -> None:
    with serving(simulated(cors_origins=("*",))) as served:
        assert served.post(ask(), headers={"origin": PAGE}).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origin", ["https://a.org/", "a.org", "https://a.org/chat", "", "null", " *"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"cors_origins: .* is no origin"):
        ServeSettings(cors_origins=(origin,))


def test_in_a_file_and_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "trim.toml"
    path.write_text(f'[serve]\ncors_origins = ["{PAGE}", "http://localhost:5173"]\n')
    assert load_config(path).serve.cors_origins == (PAGE, "http://localhost:5173")
    found = load_config(None, {"TRIM_SERVE__CORS_ORIGINS": f'["{PAGE}"]'})
    assert found.serve.cors_origins == (PAGE,)
    for wrong in ('"https://a.org"', "[1]", "7"):
        path.write_text(f"[serve]\ncors_origins = {wrong}\n")
        with pytest.raises(ConfigError, match=r"cors_origins = .* must be a list of strings"):
            load_config(path)
