"""The JSON objects of an answer, from bytes; every kind of server's shapes are in `tests.conformance`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from trim.backends import event_stream
from trim.backends.event_stream import EventStream, Source
from trim.backends.silence import Silence
from trim.errors import BackendError, BackendTimeout, BackendUnavailable, BadResponse, InputTooLong

BEATS: list[bytes | float] = [0.02, b": keep-alive\n\n"]
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def broken(error: Exception) -> BackendError | None:
    return BackendUnavailable("m", "the connection broke") if isinstance(error, ConnectionError) else None


def chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "1", "created": 1, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def read(*pieces: bytes | float | Exception, timeout: float = 5.0) -> list[dict[str, Any]]:
    """The objects of these pieces of a body; a number is a pause in seconds."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                yield piece
            else:
                await asyncio.sleep(piece)

    async def close() -> None:
        pass

    async def run() -> list[dict[str, Any]]:
        opened = Silence(timeout, timeout).request(0)
        source = Source("weak model m", "POST http://h/v1/completions", opened, "sk-secret-1", broken)
        return [value async for value in EventStream(source, body(), close)]

    return asyncio.run(run())


def test_an_answer_that_is_called_complete_has_a_reason() -> None:
    assert read(event(chunk("a")), b"data: [DONE]\n\n") == [chunk("a"), END]
    assert read(event(chunk("a", "length")), b"data: [DONE]\n\n") == [chunk("a", "length")]
    whole = {"choices": [{"message": {"content": "a"}}]}
    assert read(json.dumps(whole).encode()) == [whole, END]
    assert read(event(chunk("a"))) == [chunk("a")]  # broken off
    assert read(b"data: [DONE]\n\n") == read() == []


def test_nothing_behind_the_end_matters() -> None:
    end = event(chunk("a", "stop"))
    assert read(end, b"data: [DONE]\n\n", event(chunk("b"))) == [chunk("a", "stop")]
    assert read(end, ConnectionError()) == [chunk("a", "stop")]
    began = time.monotonic()
    assert read(end, b"data: [DONE]\n\n", 30.0) == [chunk("a", "stop")]
    assert time.monotonic() - began < 10
    with pytest.raises(BackendUnavailable, match="the connection broke"):
        read(event(chunk("a")), ConnectionError())


def test_a_connection_that_stays_open_behind_the_end_is_left_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_AFTERWARDS", 0.1)
    assert read(event(chunk("a", "stop")), 30.0, timeout=60) == [chunk("a", "stop")]
    assert read(event(chunk("a", "stop")), *BEATS * 500, timeout=60) == [chunk("a", "stop")]


def test_a_reader_that_is_slow_finds_no_silence() -> None:
    """A judge may take longer for a draft than the model for the next one."""

    async def body() -> AsyncIterator[bytes]:
        for text in ("a", "b", "c"):
            yield event(chunk(text))

    async def close() -> None:
        pass

    async def run() -> int:
        watched = Silence(0.2, 0.2)
        source = Source("m", "POST u", watched.request(0), "", broken)
        read = 0
        async for _ in EventStream(source, body(), close):
            read += 1
            await asyncio.sleep(0.3)
            assert watched.waited < 0.2
        return read

    assert asyncio.run(run()) == 3


def test_what_says_nothing_new_does_not_count_as_content() -> None:
    empty = chunk("") | {"created": 2}
    for beat in (b": keep-alive\n\n", b"\n\n", event(empty), event({"type": "ping"})):
        with pytest.raises(BackendTimeout, match=r"no content for 0\.1 s"):
            beats: list[bytes | float] = [beat, 0.01]
            read(event(chunk("a")), *beats * 1000, timeout=0.1)
    counted = [event(chunk("") | {"usage": {"completion_tokens": n}}) for n in range(20)]
    assert len(read(*(piece for each in counted for piece in (0.02, each)), timeout=0.3)) == 20


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b"<html><title>Log in</title></html>",
            "POST http://h/v1/completions answered with an HTML page titled 'Log in'",
        ),
        (b"Service is starting", "neither events nor JSON: 'Service is starting'"),
        (b'{"status": "ok"}', "JSON without choices"),
        (b'{"choices": [', "JSON that cannot be read"),
        (b"[1, 2]", "something else than a JSON object"),
        (b"data: [1, 2]\n\n", "an event that is no JSON object"),
        (b"data: nonsense\n\n", "an event that is no JSON object: 'nonsense'"),
    ],
)
def test_another_answer_is_described(body: bytes, words: str) -> None:
    with pytest.raises(BadResponse) as raised:
        read(body)
    assert words in str(raised.value)
    assert "is base_url right?" in str(raised.value)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error": {"message": "bad key sk-secret-1"}}', BackendUnavailable),
        (b'event: error\ndata: {"message": "bad key sk-secret-1"}\n\n', BackendUnavailable),
        (b"event: error\ndata: bad key sk-secret-1\n\n", BackendUnavailable),
        (b'data: {"error": {"message": "bad key sk-secret-1", "code": "context_length_exceeded"}}\n\n', InputTooLong),
    ],
)
def test_an_error_is_the_servers_own_and_final(body: bytes, kind: type[BackendError]) -> None:
    with pytest.raises(kind, match=r"bad key \[key\]") as raised:
        read(body)
    assert not raised.value.retryable
