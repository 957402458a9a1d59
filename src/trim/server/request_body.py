"""The body of a request: JSON that says so, read within a time and a size, and decompressed."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import Request

from trim.server.api_error import ApiError

_SECONDS = 30.0  # in which a client has to send its body
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body of a request.

    Raises:
        ApiError: 413, it is longer than `max_bytes`, as sent or decompressed; 408, it takes too long; 415, it does not
            say that it is JSON; 415 or 400, it is compressed in another way than it says or than is known.
        ClientDisconnect: the client left.
    """
    _check_type(request.headers.getlist("content-type"))
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > max_bytes:
                    raise _too_long(max_bytes)
    except TimeoutError:
        raise ApiError(408, "the body took too long", "body_timeout") from None
    encodings = [name.strip().lower() for name in request.headers.get("content-encoding", "").split(",")]
    text = bytes(body)
    for encoding in reversed([name for name in encodings if name not in ("", "identity")]):
        text = decompressed(text, encoding, max_bytes)
    return text


def _check_type(types: list[str]) -> None:
    """Whether a body says that it is JSON: a web page of another origin sends nothing else without asking first."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in types]
    if not kinds or any(kind != "application/json" for kind in kinds):
        said = f"not {kinds[0][:50]!r}" if kinds and kinds[0] else "and there is none"
        words = f"Content-Type must be application/json, {said}"
        raise ApiError(415, words, "unsupported_media_type")


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """A body without its compression.

    Args:
        body: as sent.
        encoding: gzip or deflate, as `Content-Encoding` names it.
        max_bytes: of the result; no more is ever decompressed.

    Raises:
        ApiError: 413, the result is longer; 415, the encoding is not known; 400, the body is not of that encoding.
    """
    if encoding in ("gzip", "x-gzip"):
        kinds = [_GZIP]
    elif encoding == "deflate":
        kinds = [_ZLIB, _RAW_DEFLATE]  # some clients leave the zlib header out
    else:
        words = f"Content-Encoding {encoding[:50]!r} is not supported; send gzip, deflate or no compression"
        raise ApiError(415, words, "unsupported_encoding")
    for kind in kinds:
        try:
            return _inflated(body, kind, max_bytes)
        except (zlib.error, EOFError):
            continue
    raise ApiError(400, f"the body is not valid {encoding}", "invalid_encoding")


def _inflated(body: bytes, kind: int, max_bytes: int) -> bytes:
    """One or, in gzip, several compressed parts.

    Raises:
        EOFError: the last part is not complete.
    """
    text = bytearray()
    while body:
        stream = zlib.decompressobj(kind)
        text += stream.decompress(body, max_bytes + 1 - len(text))
        if len(text) > max_bytes:
            raise _too_long(max_bytes)
        if not stream.eof:
            raise EOFError
        body = stream.unused_data if kind == _GZIP else b""
    return bytes(text)


def _too_long(max_bytes: int) -> ApiError:
    return ApiError(413, f"the body is longer than {max_bytes} bytes", "body_too_large")
