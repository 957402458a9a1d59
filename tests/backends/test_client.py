"""The connection to a server: addresses, errors, keys, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.backends.fake_server import Habits, serving
from trim.backends.client import Server, TokenCounter
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ConfigError,
    InputTooLong,
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
        (429, "busy", BackendUnavailable),
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


def test_a_counter_needs_a_tokenizer_that_can_be_read(counter: TokenCounter, tmp_path: Path) -> None:
    assert counter.count("one two") == 2
    assert counter.encode("one two")[1] == [(0, 3), (3, 7)]
    with pytest.raises(ConfigError, match="no such file"):
        TokenCounter(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenCounter(tmp_path)
