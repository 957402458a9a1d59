"""Compressed bodies, and how much of one is ever decompressed."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.gateway import Served, ask, serving, simulated
from trim.server.api_error import ApiError
from trim.server.request_body import decompressed

BODY = json.dumps(ask("q" * 1000)).encode()

_gzip = partial(gzip.compress, mtime=0)  # the same bytes in every process, for the names of tests


def raw_deflate(text: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(text) + stream.flush()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(simulated(max_body=5_000, max_tokens=60)) as running:
        yield running


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", _gzip(BODY)),
        ("GZip", _gzip(BODY)),
        ("x-gzip", _gzip(BODY)),
        ("gzip", _gzip(BODY[:100]) + _gzip(BODY[100:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("deflate, gzip", _gzip(zlib.compress(BODY))),
        ("identity", BODY),
        ("", BODY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_compressed_body_is_read(served: Served, encoding: str, body: bytes) -> None:
    answer = served.post(body, headers={"content-encoding": encoding})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        ("gzip", _gzip(json.dumps(ask("q" * 6_000)).encode()), 413, "body_too_large"),
        ("gzip", _gzip(b" " * 3_000_000), 413, "body_too_large"),
        ("gzip, gzip", _gzip(_gzip(b" " * 50_000_000)), 413, "body_too_large"),
        ("deflate", zlib.compress(b" " * 3_000_000), 413, "body_too_large"),
        ("br", BODY, 415, "unsupported_encoding"),
        ("gzip, zstd", BODY, 415, "unsupported_encoding"),
        ("gzip", BODY, 400, "invalid_encoding"),
        ("gzip", _gzip(BODY)[:-9], 400, "invalid_encoding"),
        ("deflate", b"\xff\xff", 400, "invalid_encoding"),
        ("", _gzip(BODY), 400, "invalid_json"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_another_body_is_refused(served: Served, encoding: str, body: bytes, status: int, code: str) -> None:
    answer = served.post(body, headers={"content-encoding": encoding})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_bomb_takes_no_memory() -> None:
    bomb = _gzip(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match="longer than 10000 bytes"):
            decompressed(bomb, "gzip", 10_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300), st.integers(0, 400))
def test_the_limit_is_exact(text: bytes, limit: int) -> None:
    for encoding, body in (("gzip", _gzip(text)), ("deflate", zlib.compress(text))):
        if len(text) <= limit:
            assert decompressed(body, encoding, limit) == text
        else:
            with pytest.raises(ApiError):
                decompressed(body, encoding, limit)
