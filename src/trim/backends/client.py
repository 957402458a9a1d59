"""What models behind servers share: the openai SDK's client, its retries, errors that name the server, and a local
token counter.

The SDK retries refused and reset connections, timeouts, 408, 409, 429 and 5xx with exponential backoff and jitter and
honours `Retry-After`; what is left after that becomes an error of `trim.errors`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from trim.backends.environment import check_connections, usable_key
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    BadResponse,
    ConfigError,
    InputTooLong,
)
from trim.protocols import Probe
from trim.types import Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

_TOO_LONG = re.compile(
    r"context[ _-]*(length|size|window)|max_model_len|maximum (model |input )?length|too long|too many tokens"
    r"|longer than the maximum|exceed_context|tokens? limit|max_seq_len",
    re.IGNORECASE,
)


class Server:
    """A connection to one server.

    Args:
        role: what errors call it: "strong model" makes "strong model NAME at URL".
        base_url: the API's address, for generators with its `/v1`.
        model: the name that the server knows the model by.
        api_key: the key, if one is needed.
        timeout: seconds without a byte after which a request is given up.
        retries: how often a request is tried again before it counts as failed.

    Raises:
        ConfigError: an argument, or what the environment says of proxies and certificates, cannot be right.
    """

    def __init__(
        self,
        role: str,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{role}: base_url {base_url!r} is not an http(s) address")
        if timeout <= 0 or retries < 0:
            raise ConfigError(f"{role}: timeout must be above 0 and retries at least 0: {timeout}, {retries}")
        check_connections()
        self.model = model
        self.name = f"{role} {model} at {_public(base_url)}"
        self._base_url = base_url
        # Never None: the SDK would send the environment's key for openai.com instead.
        self._key = usable_key(api_key, f"{role}: its key") if api_key else "none"
        self._is_openai = f".{parts.hostname}".endswith(".openai.com")
        self._timeout = timeout
        self._retries = retries
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def client(self) -> AsyncOpenAI:
        """The SDK's client of the running event loop: open connections cannot change loops."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            from openai import AsyncOpenAI, Timeout

            self._loop = loop
            client = AsyncOpenAI(
                api_key=self._key,
                base_url=self._base_url,
                timeout=Timeout(self._timeout, connect=min(self._timeout, 10.0)),
                max_retries=self._retries,
            )
            if not self._is_openai:  # OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY and OPENAI_CUSTOM_HEADERS
                client.organization = client.project = client.admin_api_key = None
                client._custom_headers = {}
            self._client = client
        return self._client

    def prepare(self) -> None:
        """Import now what the first request would wait for."""
        _ = self.client

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def open_stream(self, path: str, body: dict[str, Any]) -> AsyncStream[object]:
        """The JSON values that `path` sends as events; returns once the server has begun to answer.

        A path with a leading slash stands beside `/v1`, not in it. The SDK's own types are left out: making them took
        about a fifth of the gateway's CPU time.

        Raises:
            BackendError: no answer, after retries.
        """
        from openai import AsyncStream

        kind = AsyncStream[object]
        async with self.errors():
            return await self.client.post(self._url(path), body=body, cast_to=object, stream=True, stream_cls=kind)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that `path` answers with; see `open_stream`.

        Raises:
            BackendError: no such answer, after retries.
        """
        async with self.errors():
            answer = await self.client.post(self._url(path), body=body, cast_to=object)
        if not isinstance(answer, dict):
            raise BadResponse(self.name, f"{path} answered with something else than a JSON object")
        return answer

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The JSON objects that `path` sends as events. Closing the iterator cancels the request.

        Raises:
            BackendError: no such answer, after retries; or it breaks off.
        """
        events = await self.open_stream(path, body)
        try:
            while True:
                async with self.errors():
                    event = await anext(events, None)
                if event is None:
                    return
                if not isinstance(event, dict):
                    raise BadResponse(self.name, f"{path} sent something else than JSON objects")
                yield event
        finally:
            await events.close()

    def _url(self, path: str) -> str:
        base = self._base_url.rstrip("/")
        return base.removesuffix("/v1") + path if path.startswith("/") else f"{base}/{path}"

    async def models(self) -> tuple[tuple[str, ...], int | None]:
        """Names of the models that the server offers, and our model's context in tokens where it says so (vLLM)."""
        base = self._base_url.rstrip("/")
        url = base if base.endswith("/v1") else f"{base}/v1"
        async with self.errors():
            answer: Any = await self.client.get(f"{url}/models", cast_to=object)
        try:
            entries = {str(entry["id"]): entry for entry in answer["data"]}
        except (TypeError, KeyError):
            raise BadResponse(self.name, "/v1/models answered with something else than a list of models") from None
        length = entries.get(self.model, {}).get("max_model_len")
        return tuple(entries), length if isinstance(length, int) else None

    async def probe(self) -> Probe:
        """Whether it answers at all, from its list of models. A server without such a list is there all the same."""
        try:
            names, context = await self.models()
        except BackendError as error:
            return Probe(self.name, reachable=not error.retryable, problem=str(error) if error.retryable else None)
        return Probe(self.name, reachable=True, models=names, context=context)

    @asynccontextmanager
    async def errors(self) -> AsyncIterator[None]:
        """Turns what the SDK and its HTTP library raise into errors of `trim.errors`."""
        try:
            yield
        except BackendError:
            raise
        except Exception as error:
            translated = self._translate(error)
            if translated is None:
                raise
            raise translated from None  # the SDK's exceptions hold the request with its headers

    def _translate(self, error: Exception) -> BackendError | None:
        import openai

        if isinstance(error, openai.APITimeoutError):
            return BackendTimeout(self.name, f"no answer within {self._timeout:g} s", "its load, or raise timeout")
        if isinstance(error, openai.APIConnectionError):
            return BackendUnavailable(self.name, "cannot be reached", "is it running, is base_url right?")
        if isinstance(error, openai.APIStatusError):
            return self._of_status(error.status_code, self._clean(error.message))
        if isinstance(error, openai.APIError):
            return self._of_message(self._clean(error.message))
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            if "Timeout" in type(error).__name__:
                return BackendTimeout(self.name, f"fell silent for {self._timeout:g} s in the middle of an answer")
            return BackendUnavailable(self.name, f"the connection broke: {self._clean(str(error))}")
        if isinstance(error, (ValueError, openai.OpenAIError)):
            return BadResponse(self.name, f"an answer that cannot be read: {self._clean(str(error))}")
        return None

    def _of_status(self, status: int, message: str) -> BackendError:
        problem = f"answered {status}: {message}"
        if status == 408:
            return BackendTimeout(self.name, problem)
        if status in (409, 429) or status >= 500:
            return BackendUnavailable(self.name, problem)
        if status in (400, 413, 422) and _TOO_LONG.search(message):
            return InputTooLong(self.name, message)
        hints = {401: "check api_key_env", 403: "check api_key_env", 404: "check model and base_url"}
        return BackendRefused(self.name, problem, hints.get(status, ""), status=status)

    def _of_message(self, message: str) -> BackendError:
        """An error inside a stream, after a status of 200."""
        if _TOO_LONG.search(message):
            return InputTooLong(self.name, message)
        return BackendUnavailable(self.name, f"an error in the middle of an answer: {message}")

    def _clean(self, message: str) -> str:
        """A server's message in one short line, without the key, which some servers repeat."""
        if len(self._key) > 4:
            message = message.replace(self._key, "[key]")
        line = " ".join(message.split())
        return line if len(line) <= 300 else line[:299] + "…"


class ServerBackend:
    """A `Backend` behind a server. Subclasses add `steps` or `score`, and say in `trial` whether that works.

    Args:
        kind: what `identity` begins with.
        role, base_url, model, api_key, timeout, retries: see `Server`.
    """

    def __init__(
        self, kind: str, role: str, base_url: str, model: str, *, api_key: str | None, timeout: float, retries: int
    ) -> None:
        self.server = Server(role, base_url, model, api_key=api_key, timeout=timeout, retries=retries)
        self.identity = f"{kind}:{model} at {base_url}"
        self.usage = Usage()

    def prepare(self) -> None:
        """Import the client library and make the client."""
        self.server.prepare()

    async def probe(self, *, quick: bool = False) -> Probe:
        """Whether the server answers at all, and unless `quick` what it does."""
        found = await self.server.probe()
        return found if quick or not found.reachable else await self.trial(found)

    async def trial(self, found: Probe) -> Probe:
        """What was found so far, and what a request as for a question shows. Never raises a `BackendError`."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close all connections."""
        await self.server.aclose()


class TokenCounter:
    """Counts tokens with a local `tokenizer.json` (a file or the folder that holds it)."""

    def __init__(self, path: str | Path) -> None:
        from tokenizers import Tokenizer

        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise ConfigError(f"tokenizer {path!r}: no such file")
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises plain Exception
            raise ConfigError(f"tokenizer {path!r} cannot be read: {error}") from None

    def count(self, text: str) -> int:
        """Tokens of a text, special tokens in it included."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids as a server would make them (with those that the tokenizer adds), and the characters
        [start, end) that each stands for.
        """
        encoding = self._tokenizer.encode(text)
        return list(encoding.ids), list(encoding.offsets)


def _public(url: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
