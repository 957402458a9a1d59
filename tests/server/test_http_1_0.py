"""HTTP/1.0 clients get streams without chunks, as they are written."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.server.gateway import WEAK, Served, ask, serving, simulated
from trim.server.http_1_0 import VersionedProtocol

SLOW = replace(WEAK, token_seconds=0.002)  # 80 ms a step


def exchange(
    served: Served, version: str, body: dict[str, Any], pieces: int = 1
) -> tuple[bytes, list[bytes], list[float]]:
    """Send a request over a bare connection, in so many pieces. Returns the head, the parts of the body as they came
    until the connection closed, and when they came.
    """
    host, port = served.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    request = (
        f"POST /v1/chat/completions HTTP/{version}\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    ).encode() + content
    parts, times = [], []
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for start in range(pieces):
            connection.sendall(request[start::1] if pieces == 1 else request[start : start + 1])
            if pieces > 1:
                time.sleep(0.002)
        if pieces > 1:
            connection.sendall(request[pieces:])
        while data := connection.recv(65_536):
            parts.append(data)
            times.append(time.monotonic())
    head, _, first = b"".join(parts).partition(b"\r\n\r\n")
    return head.lower(), [first], times


@pytest.mark.parametrize("http", [VersionedProtocol, "h11", "httptools"])
def test_a_stream_has_no_chunks(http: Any) -> None:
    with serving(simulated(SLOW), http=http) as served:
        head, (body,), times = exchange(served, "1.0", ask("hard 7", stream=True, seed=5))
        assert b"transfer-encoding" not in head
        assert b" 200 " in head.splitlines()[0]
        assert body.startswith(b"data: {")
        assert body.endswith(b"data: [DONE]\n\n")
        assert all(line.startswith(b"data: ") for line in body.split(b"\n\n") if line)
        if http is VersionedProtocol:  # the others are given the stream at its end
            assert times[-1] - times[0] > 0.1
            assert b"connection: close" in head
        assert served.spent(1).requests == 1


def test_the_text_is_that_of_other_clients() -> None:
    with serving(simulated()) as served:
        old = exchange(served, "1.0", ask("hard 7", seed=5))[1][0]
        new = served.post(ask("hard 7", seed=5)).json()
        assert json.loads(old)["choices"] == new["choices"]
        assert served.spent(2).requests == 2


def test_a_request_in_pieces_is_understood() -> None:
    with serving(simulated()) as served:
        for version in ("1.0", "1.1"):
            head, (body,), _ = exchange(served, version, ask("hard 7", seed=5, stream=True), pieces=60)
            assert b" 200 " in head.splitlines()[0]
            assert (b"transfer-encoding: chunked" in head) is (version == "1.1")
            assert b"data: [DONE]" in body


def test_an_error_and_a_disconnect(served: Served) -> None:
    head, (body,), _ = exchange(served, "1.0", ask(stream=True, n=99))
    assert b" 400 " in head.splitlines()[0]
    assert json.loads(body)["error"]["param"] == "n"


def test_other_requests_on_one_connection_are_unchanged(served: Served) -> None:
    first, second = served.get("/healthz"), served.get("/healthz")
    assert first.http_version == second.http_version == "HTTP/1.1"
