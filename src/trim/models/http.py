"""What the HTTP clients share: a local token counter, and errors in TRIM's own words."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    BadResponse,
    ConfigError,
    InputTooLong,
)

T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0  # seconds
_TOO_LONG = ("context length", "maximum length", "max_model_len", "too long", "exceeds the maximum", "input tokens")


class TokenCounter:
    """Counts tokens with a local `tokenizer.json` (a file or the folder that holds it)."""

    def __init__(self, path: str | Path) -> None:
        from tokenizers import Tokenizer

        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise ConfigError(f"tokenizer {path!r}: no such file")
        self._tokenizer: Any = Tokenizer.from_file(str(file))

    def count(self, text: str) -> int:
        """Tokens of a text, special tokens in it included."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids as a server would make them (with those that the tokenizer adds), and the characters
        [start, end) that each stands for.
        """
        encoding = self._tokenizer.encode(text)
        return list(encoding.ids), list(encoding.offsets)


def status_error(server: str, status: int, body: str) -> BackendError:
    """The error for an HTTP status."""
    said = " ".join(body.split())[:300]
    if status == 429 or status >= 500:
        return BackendUnavailable(server, f"answered {status}: {said}")
    if any(words in body.lower() for words in _TOO_LONG):
        return InputTooLong(server, f"the text does not fit: {said}")
    hints = {401: "check api_key_env", 403: "check api_key_env", 404: "check base_url and model"}
    return BackendRefused(server, f"answered {status}: {said}", hints.get(status, ""))


def backend_error(server: str, error: Exception) -> BackendError:
    """Any error of httpx or the openai SDK in TRIM's words. Never carries headers or keys."""
    import httpx
    import openai

    if isinstance(error, BackendError):
        return error
    if isinstance(error, openai.APITimeoutError | httpx.TimeoutException):
        return BackendTimeout(server, "no answer in time", "raise timeout, or look at the server's load")
    if isinstance(error, openai.APIStatusError):
        return status_error(server, error.status_code, error.message)
    if isinstance(error, openai.APIConnectionError | httpx.TransportError):
        cause = error.__cause__ or error
        return BackendUnavailable(server, f"cannot be reached: {cause}", "is it running, is base_url right?")
    return BadResponse(server, f"an answer that cannot be read: {type(error).__name__}: {error}")


async def with_retries(attempt: Callable[[], Awaitable[T]], retries: int) -> T:
    """Call until it succeeds, waiting longer (and by chance a little more or less) after each retryable failure.

    Raises:
        BackendError: not retryable, or the last of `retries` + 1 tries.
    """
    for tried in range(retries + 1):
        try:
            return await attempt()
        except BackendError as error:
            if not error.retryable or tried == retries:
                raise
        await asyncio.sleep(min(_LONGEST_WAIT, _FIRST_WAIT * 2**tried) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")
