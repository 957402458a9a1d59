"""Browsers: only pages and names that are configured, and no request that a page could send without asking first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Route

from tests.server.gateway import Served, ask, serving, simulated
from trim.config.loading import load_config
from trim.config.settings import ServeSettings
from trim.errors import ConfigError
from trim.server.app import create_app
from trim.server.auth import generate_key, hash_key
from trim.server.gateway import Gateway

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


def test_hosts_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "trim.toml"
    path.write_text('[serve]\nallowed_hosts = ["Trim.example", "*.trim.example", "2001:db8::1", "*"]\n')
    assert load_config(path).serve.allowed_hosts == ("trim.example", "*.trim.example", "2001:db8::1", "*")


@pytest.mark.parametrize("host", ["http://a.org", "a.org:80", "a.org/", "", "*a.org", "a.*", "a b", "[::1]", ".a.org"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed_hosts: .* is no host: write"):
        ServeSettings(allowed_hosts=(host,))


# What a page can make a browser send to any address without asking it first, and what a script of another kind may.
SIMPLE = [
    None,
    "text/plain",
    "text/plain;charset=UTF-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "",
    "application",
    "text/json",
    "application/jsonp",
    "text/plain; application/json",
    "application/json, text/plain",
]


@pytest.fixture(scope="module")
def open_gateway() -> Iterator[Served]:
    with serving(simulated(max_tokens=60, recent_requests=True)) as running:
        yield running


def routes() -> list[BaseRoute]:
    return create_app(lambda: nullcontext(Gateway(simulated()))).routes


def posted(served: Served, kind: str | None, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, str]:
    """The status and the error's code."""
    given = headers if kind is None else headers | {"content-type": kind}
    answer = served.client.post(served.url + path, content=json.dumps(ask()).encode(), headers=given)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


@pytest.mark.parametrize("kind", SIMPLE)
def test_a_body_that_is_not_said_to_be_json_is_refused(open_gateway: Served, kind: str | None) -> None:
    paths = [
        route.path.replace("{model:path}", "trim")
        for route in routes()
        if isinstance(route, Route) and (route.methods or set()) - {"GET", "HEAD"}
    ]
    assert len(paths) >= 3
    for path in paths:
        assert posted(open_gateway, kind, path) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;x=y"]
)
def test_json_is_taken(open_gateway: Served, kind: str) -> None:
    assert posted(open_gateway, kind) == (200, "")


def test_two_content_types_are_none(open_gateway: Served) -> None:
    headers = [("content-type", "application/json"), ("content-type", "text/plain")]
    answer = open_gateway.client.post(
        f"{open_gateway.url}/v1/chat/completions", content=json.dumps(ask()).encode(), headers=headers
    )
    assert answer.status_code == 415


def test_a_page_elsewhere_changes_nothing(open_gateway: Served) -> None:
    json_kind = "application/json"
    for page in ("https://evil.example", "null", "http://localhost.evil.example", "http://8.8.8.8:8080"):
        assert posted(open_gateway, json_kind, origin=page) == (403, "origin_not_allowed")
    for site in ("cross-site", "same-site"):
        assert posted(open_gateway, json_kind, **{"sec-fetch-site": site}) == (403, "origin_not_allowed")
    for page in (open_gateway.url, "http://localhost:5173"):
        assert posted(open_gateway, json_kind, origin=page, **{"sec-fetch-site": "same-origin"}) == (200, "")
    assert posted(open_gateway, json_kind, **{"sec-fetch-site": "none"}) == (200, "")
    assert open_gateway.gateway.metrics.rejected.labels(403)._value.get() >= 6


@pytest.mark.parametrize("path", ["/", "/v1/trim/recent", "/v1/models", "/metrics", "/openapi.json", "/nothing"])
def test_a_name_that_was_made_to_resolve_here_reads_nothing(open_gateway: Served, path: str) -> None:
    for host in ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::1"):
        answer = open_gateway.get(path, headers={"host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed"), host
        assert "question" not in answer.text
    assert open_gateway.get(path, headers={"host": "localhost:9000"}).status_code in (200, 404)


def test_nor_does_it_send_anything(open_gateway: Served) -> None:
    kind, host = "application/json", "evil.example:8080"
    assert posted(open_gateway, kind, host=host, origin=f"http://{host}") == (403, "host_not_allowed")
    assert posted(open_gateway, kind, host=host) == (403, "host_not_allowed")


def test_load_balancers_may_use_any_name(open_gateway: Served) -> None:
    for path in ("/healthz", "/readyz"):
        assert open_gateway.get(path, headers={"host": "10-0-0-7.pod.cluster.local"}).status_code == 200


def test_a_configured_name() -> None:
    with serving(simulated(max_tokens=60, allowed_hosts=("trim.example",))) as served:
        page = {"host": "trim.example", "origin": "https://trim.example"}
        assert posted(served, "application/json", **page) == (200, "")
        assert served.get("/v1/models", headers={"host": "trim.example:443"}).status_code == 200
        assert posted(served, "application/json", host="other.example") == (403, "host_not_allowed")
