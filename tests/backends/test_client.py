"""The connection to a server: addresses, errors, keys, tokens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest

from tests.backends.fake_server import Habits, serving
from trim.backends.client import Server
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ConfigError,
    InputTooLong,
    RateLimited,
)

T = TypeVar("T")


def asked(habits: Habits, call: Callable[[Server], Awaitable[T]], key: str | None = None) -> T:
    async def run() -> T:
        server = Server("weak model", habits.url + "/v1", "m", api_key=key, retries=0)
        try:
            return await call(server)
        finally:
            await server.aclose()

    return asyncio.run(run())


def test_a_server_lists_its_models_and_their_context() -> None:
    with serving(context=500) as habits:
        assert asked(habits, Server.models) == (("m",), 500)


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (408, "slow", BackendTimeout),
        (429, "busy", RateLimited),
        (500, "broken", BackendUnavailable),
        (400, "this model's maximum context length is 10 tokens", InputTooLong),
        (400, "what?", BackendRefused),
        (401, "who?", BackendRefused),
    ],
)
def test_a_status_becomes_an_error_that_names_the_server(status: int, message: str, error: type[BackendError]) -> None:
    with serving(statuses=[status], message=message) as habits, pytest.raises(error) as raised:
        asked(habits, lambda server: server.post("completions", {"prompt": "p"}))
    assert type(raised.value) is error
    assert raised.value.server == f"weak model m at {habits.url}/v1"
    assert raised.value.retryable == (status in (408, 429, 500))


def test_a_key_is_cut_out_of_what_a_server_says() -> None:
    with serving(statuses=[401], message="bad key sk-secret-1") as habits, pytest.raises(BackendRefused) as raised:
        asked(habits, Server.models, "sk-secret-1")
    assert "[key]" in str(raised.value)
    assert "sk-secret-1" not in str(raised.value)
    assert habits.requests == []


def test_names_hold_no_password() -> None:
    assert Server("judge", "http://me:secret@host:1/v1/?key=x", "m").name == "judge m at http://host:1/v1"


@pytest.mark.parametrize("wrong", [{"base_url": "host:1"}, {"timeout": 0.0}, {"retries": -1}])
def test_arguments_that_cannot_be_right_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="judge: "):
        Server("judge", **{"base_url": "http://h", "model": "m", **wrong})


def test_a_client_belongs_to_its_event_loop() -> None:
    server = Server("judge", "http://127.0.0.1:9", "m")

    async def client() -> object:
        server.prepare()
        assert server.client is server.client
        return server.client

    assert asyncio.run(client()) is not asyncio.run(client())


AMBIENT = {
    "OPENAI_API_KEY": "sk-ambient-1",
    "OPENAI_ADMIN_KEY": "sk-ambient-2",
    "OPENAI_ORG_ID": "org-ambient",
    "OPENAI_PROJECT_ID": "proj-ambient",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/ambient",
    "OPENAI_CUSTOM_HEADERS": "X-Ambient: ambient\nAuthorization: Bearer ambient\nUser-Agent: ambient",
    "OPENAI_WEBHOOK_SECRET": "ambient",
    "OPENAI_API_VERSION": "ambient",
    "AZURE_OPENAI_API_KEY": "ambient",
    "AZURE_OPENAI_AD_TOKEN": "ambient",
    "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9/ambient",
}


@pytest.mark.parametrize("key", [None, "sk-own"])
def test_what_the_environment_holds_for_openai_goes_to_no_other_server(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    with serving() as habits:
        asked(habits, lambda server: server.post("completions", {"prompt": "p", "stream": False}), key)
    assert "ambient" not in str(habits.headers)
    assert not [name for name in habits.headers[0] if name.startswith(("openai-", "x-ambient"))]
    assert habits.headers[0]["authorization"] == f"Bearer {key or 'none'}"


def test_openai_itself_gets_what_the_environment_holds_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)

    async def headers(base_url: str) -> dict[str, object]:
        server = Server("strong model", base_url, "m", api_key="sk-own")
        try:
            return dict(server.client.default_headers)
        finally:
            await server.aclose()

    own = asyncio.run(headers("https://api.openai.com/v1"))
    assert (own["OpenAI-Organization"], own["OpenAI-Project"]) == ("org-ambient", "proj-ambient")
    assert "ambient" not in str(asyncio.run(headers("https://openai.com.example.org/v1")))


def test_the_sdk_reads_no_other_variables() -> None:
    """A new one has to be looked at: may it reach a server that is not OpenAI's?"""
    package = Path(openai.__file__).parent
    named = {
        name
        for file in package.rglob("*.py")
        for name in re.findall(r"\b(?:OPENAI|AZURE)_[A-Z_]+\b", file.read_text("utf-8"))
    }
    harmless = {"OPENAI_API_TYPE", "OPENAI_LOG", "OPENAI_MTLS_HOSTS", "AZURE_AUTH_ORIGIN"}
    assert named <= {*AMBIENT, *harmless}


def test_a_key_is_stripped_and_one_that_no_header_carries_is_refused() -> None:
    with serving() as habits:
        asked(habits, lambda server: server.post("completions", {"prompt": "p", "stream": False}), "sk-own\r\n")
    assert habits.headers[0]["authorization"] == "Bearer sk-own"
    with pytest.raises(ConfigError, match="weak model: its key is no API key") as raised:
        Server("weak model", "http://127.0.0.1:9/v1", "m", api_key="sk-öwn")
    assert "öwn" not in str(raised.value)


def test_a_server_that_asks_for_patience_is_waited_for_within_limits() -> None:
    async def post(server: Server) -> None:
        await server.post("completions", {"prompt": "p", "max_tokens": 1, "stream": False})

    for patience, tries in ((60.0, 3), (0.001, 1)):
        with serving(statuses=[429] * 9) as habits:  # retry-after-ms: 5

            async def run(patience: float = patience, url: str = habits.url) -> None:
                server = Server("weak model", f"{url}/v1", "m", retries=2)
                server.patience = patience
                try:
                    await post(server)
                finally:
                    await server.aclose()

            with pytest.raises(RateLimited) as raised:
                asyncio.run(run())
            assert raised.value.retry_after == pytest.approx(0.005)
            assert len(habits.requests) == tries


def test_half_a_character_in_a_request_is_a_replacement_character() -> None:
    with serving() as habits:
        asked(habits, lambda server: server.post("completions", {"prompt": "a \ud83d", "stream": False}))
        assert habits.requests[0]["prompt"] == "a �"
