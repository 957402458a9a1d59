"""Whatever a server sends without end, the call ends in one error that names the server and the bound."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from tests.backends.hostile_server import JSON, SSE, Answer, Hostile, hostile
from trim.backends import bounded_client, event_stream, sse
from trim.backends.client import Server
from trim.backends.request_extras import RequestExtras
from trim.errors import BackendError, BackendTimeout, BackendUnavailable, BadResponse

SECRETS = {"X-Token": "secret-token"}
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": ""}}]}\n\n'
GZIP = b"content-encoding: gzip\r\n\r\n"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are reached at once."""
    monkeypatch.setattr(bounded_client, "WHOLE", 2**20)
    monkeypatch.setattr(bounded_client, "STREAM", 12 * 2**20)
    monkeypatch.setattr(sse, "MOST", 2**20)
    monkeypatch.setattr(event_stream, "_QUIET", 2**21)


def always(head: bytes, part: bytes = b"") -> Answer:
    def answer(request: str) -> Iterator[bytes]:
        yield head
        yield from repeat(part)

    return answer


def once(*parts: bytes) -> Answer:
    return lambda request: iter(parts)


async def called(made: Hostile, path: str, timeout: float) -> object:
    server = Server(
        "strong model",
        f"{made.url}/v1",
        "m",
        api_key="secret-key",
        timeout=timeout,
        retries=0,
        extras=RequestExtras(headers=SECRETS),
    )
    try:
        if path == "stream":
            return [event async for event in server.stream("chat/completions", {"max_tokens": 5})]
        if path == "post":
            return await server.post("chat/completions", {"max_tokens": 5})
        if path == "models":
            return await server.models()
        return await server.ask(path, {"content": "x"} if path == "/tokenize" else None)
    finally:
        await server.aclose()


def result(answer: Answer, path: str = "stream", timeout: float = 20.0) -> tuple[object, Hostile]:
    """What a call gives or raises, once the server has no connection any more."""

    async def run() -> tuple[object, Hostile]:
        async with hostile(answer) as made:
            try:
                found = await called(made, path, timeout)
            except BackendError as error:
                found = error
            limit = time.monotonic() + 5
            while made.open:
                assert time.monotonic() < limit, "the connection is still open"
                await asyncio.sleep(0.01)
            return found, made

    return asyncio.run(run())


DEEP = b"[" * 100_000 + b"]" * 100_000
BOMB = gzip.compress(b" " * 2**24)
ENDLESS = [
    ("an endless line", always(SSE, b"x" * 2**16), "stream", "an event of more than 1 MiB"),
    ("an endless event", always(SSE + b"data: ", b"x" * 2**16), "stream", "an event of more than 1 MiB"),
    ("endless data lines", always(SSE, b"data: x\n" * 2**12), "stream", "an event of more than 1 MiB"),
    ("endless comments", always(SSE, b": ping\n\n" * 2**12), "stream", "2 MiB without content"),
    ("endless empty deltas", always(SSE, CHUNK * 2**10), "stream", "2 MiB without content"),
    ("endless white space", always(SSE, b" \n" * 2**12), "stream", "64 KiB of white space"),
    ("a body in place of a stream", always(JSON, b"[" * 2**16), "stream", "more than 1 MiB in one answer"),
    ("a body", always(JSON + b'{"a": "', b"x" * 2**16), "post", "more than 1 MiB in one answer"),
    ("a list of models", always(JSON, b" " * 2**16), "models", "more than 1 MiB in one answer"),
    ("headers", always(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 2**12), "post", "headers of more than 100 kB"),
    ("a header", always(b"HTTP/1.1 200 OK\r\na: ", b"x" * 2**14), "stream", "headers of more than 100 kB"),
    ("a bomb", once(JSON[:-2] + GZIP + BOMB), "post", "more than 1 MiB in one answer"),
    ("a bomb in a stream", once(SSE[:-2] + GZIP + BOMB), "stream", "64 KiB of white space"),
    ("broken gzip", once(JSON[:-2] + GZIP + b"no gzip"), "post", "compressed data that cannot be read"),
    ("brotli", once(JSON[:-2] + b"content-encoding: br\r\n\r\nxx"), "post", "Content-Encoding 'br'"),
    ("a deep body", once(JSON + DEEP), "post", "nested more than 64 levels deep"),
    ("a deep answer", once(JSON + b'{"a":' + DEEP + b"}"), "stream", "nested more than 64 levels deep"),
    ("a deep list of models", once(JSON + b"[" * 100 + b"]" * 100), "models", "nested more than 64 levels deep"),
    ("a deep event", once(SSE + b"data: " + DEEP + b"\n\n"), "stream", "no JSON object"),
]


@pytest.mark.parametrize(("answer", "path", "words"), [case[1:] for case in ENDLESS], ids=[case[0] for case in ENDLESS])
def test_what_has_no_end_ends_in_one_error(answer: Answer, path: str, words: str) -> None:
    error, made = result(answer, path)
    assert isinstance(error, BadResponse)
    assert not error.retryable
    assert error.server.startswith(f"strong model m at {made.url}")
    assert "secret" not in str(error)
    assert re.search(words, str(error)), str(error)
    assert made.sent < 40 * 2**20


@pytest.mark.parametrize("path", ["/props", "/tokenize"])
def test_what_is_only_good_to_know_is_left_out(path: str) -> None:
    assert result(always(JSON + b'{"a": "', b"x" * 2**16), path)[0] == {}
    assert result(once(JSON + DEEP), path)[0] == {}


def test_of_an_error_the_beginning_is_read() -> None:
    head = b"HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\n\r\nit is broken "
    error, made = result(always(head, b" " * 2**16), "post")
    assert isinstance(error, BackendUnavailable)
    assert "answered 500: it is broken" in str(error)
    assert made.sent < 20 * 2**20


def test_a_head_that_trickles_has_a_time() -> None:
    error, _ = result(always(b"HTTP/1.1 200 OK\r\na: ", b""), "post", timeout=0.2)
    assert isinstance(error, BackendTimeout)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["post", "stream", "models"])
def test_nothing_is_sent_to_another_origin(status: int, path: str) -> None:
    async def run() -> None:
        async with hostile(once(JSON + b"{}")) as other:
            away = f"HTTP/1.1 {status} Away\r\nlocation: {other.url}/v1/x?k=secret\r\ncontent-length: 0\r\n\r\n"
            async with hostile(once(away.encode())) as made:
                with pytest.raises(BadResponse, match=r"redirects to http.*set base_url to it") as caught:
                    await called(made, path, 5.0)
            assert not other.heads
            assert "secret" not in str(caught.value)

    asyncio.run(run())


def test_redirects_within_an_origin_are_followed_three_times() -> None:
    def answer(times: int) -> Answer:
        def answered(head: str) -> Iterator[bytes]:
            count = int(head.split("?n=")[1].split(maxsplit=1)[0]) if "?n=" in head else 0
            if count == times:
                yield JSON + b'{"ok": 1}'
            else:
                yield f"HTTP/1.1 307 On\r\nlocation: /v1/x?n={count + 1}\r\ncontent-length: 0\r\n\r\n".encode()

        return answered

    assert result(answer(3), "post")[0] == {"ok": 1}
    error, made = result(answer(10**6), "post")
    assert isinstance(error, BadResponse)
    assert "redirects more than 3 times" in str(error)
    assert len([head for head in made.heads if head.startswith("POST")]) == 4


def test_a_compressed_answer_is_read() -> None:
    text = json.dumps({"a": "b" * 1000}).encode()
    assert result(once(JSON[:-2] + GZIP + gzip.compress(text)), "post")[0] == {"a": "b" * 1000}
    events = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\ndata: [DONE]\n\n'
    found, _ = result(once(SSE[:-2] + GZIP + gzip.compress(events)))
    assert isinstance(found, list)
    assert found[0]["choices"][0]["delta"] == {"content": "x"}
