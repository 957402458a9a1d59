"""What models behind servers share: the openai SDK's client, retries, and errors that name the server.

What may go away by itself is tried again: refused and reset connections, timeouts, 408, 409, 429 and 5xx, with
exponential backoff and jitter, or after the time that the server asks for. An error under a status of 200 and an
account without credit are not.
"""

from __future__ import annotations

import asyncio
import difflib
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from trim.addresses import Address
from trim.backends.environment import ApiKey, check_connections, usable_key
from trim.backends.event_stream import EventStream, Source
from trim.backends.request_extras import RequestExtras
from trim.backends.request_parameters import RequestParameters
from trim.backends.response_json import parsed
from trim.backends.server_errors import backend_error, html_words, is_html, reply_of, shortened, told_error
from trim.backends.silence import Request, Silence, length_of
from trim.backends.surrogates import whole_texts
from trim.backends.token_counts import as_count
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    BadResponse,
    ConfigError,
    ContentFiltered,
    InputTooLong,
    OutputTooLong,
    QuotaExhausted,
    RateLimited,
)
from trim.protocols import Probe
from trim.redaction import hide, redact_library_logs
from trim.types import Usage

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI
    from openai._types import RequestOptions

T = TypeVar("T")
_SIDE_TIMEOUT = 10.0  # seconds for what is only good to know
_CONNECT_TIMEOUT = 5.0  # seconds
_LEAST = 16  # tokens: what asks for fewer says nothing of how long others take
_VERSION = re.compile(r"(.*/)?v\d\w*(/openai)?")  # what the path of an API usually ends with
_LISTED = 8  # names of models in an error
_UNREACHABLE = "is it running, is base_url right? trim init finds the servers of this machine"

_AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")


class Server:
    """A connection to one server.

    Args:
        role: what errors call it: "strong model" makes "strong model NAME at URL".
        base_url: the API's address, for generators with its `/v1`; what stands behind a `?` goes with every request.
        model: the name that the server knows the model by.
        api_key: the key, if one is needed.
        timeout: seconds without content after which a request is given up, at most: see `trim.backends.silence`.
        retries: how often a request is tried again before it counts as failed.
        extras: what requests leave out, say and carry besides.
        key_header: the header for the key; empty: `Authorization`, or as the address needs it.
        first_timeout: the same until an answer begins; None: `timeout`.

    What a server refuses of a request is learnt from its refusal, see `trim.backends.request_parameters`.

    `patience`: a server that asks for more seconds until the next try is not tried again.

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
        extras: RequestExtras = RequestExtras(),
        key_header: str = "",
        first_timeout: float | None = None,
    ) -> None:
        address = Address(base_url)
        parts = _parsed_address(role, address)
        if timeout <= 0 or retries < 0:
            raise ConfigError(f"{role}: timeout must be above 0 and retries at least 0: {timeout}, {retries}")
        check_connections()
        self.model = model
        self.patience = 60.0
        self.name = f"{role} {model} at {_public(address)}"
        self.parameters = RequestParameters(self.name, extras.omit, extras.extra_body)
        self._base_url = str(address)
        self._query = dict(address.parameters)
        # Never None: the SDK would send the environment's key for openai.com instead.
        self._key = usable_key(api_key, f"{role}: its key") if api_key else "none"
        self._key_hint = _key_hint(api_key)
        host = parts.hostname or ""
        self._is_openai = f".{host}".endswith(".openai.com")
        if not key_header and host.endswith(_AZURE):
            key_header = "api-key"
        self._key_header = key_header
        self._headers = address.headers | dict(extras.headers)
        for secret in (api_key or "", *self._headers.values()):
            hide(secret)
        self._timeout = timeout
        self.silence = Silence(timeout if first_timeout is None else first_timeout, timeout)
        self._retries = retries
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def client(self) -> AsyncOpenAI:
        """The SDK's client of the running event loop: open connections cannot change loops."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            from openai import AsyncOpenAI, Timeout

            from trim.backends.bounded_client import BoundedClient

            redact_library_logs()
            self._loop = loop
            timeout = Timeout(self._longest, connect=min(self._longest / 2, _CONNECT_TIMEOUT))
            client = AsyncOpenAI(
                api_key=self._key,
                base_url=self._base_url,
                timeout=timeout,
                max_retries=0,  # see `_answered`
                default_query=self._query,
                http_client=BoundedClient(self.name, timeout=timeout),
            )
            if not self._is_openai:  # OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_ADMIN_KEY and OPENAI_CUSTOM_HEADERS
                client.organization = client.project = client.admin_api_key = None
                client._custom_headers = {}
            self._client = client
        return self._client

    @property
    def _longest(self) -> float:
        """Seconds that a request may wait for anything."""
        return max(self.silence.first, self.silence.between)

    def _options(self) -> RequestOptions:
        """The headers of every request."""
        from openai import Omit

        headers: dict[str, str | Omit] = {**self._headers}
        if self._key_header:
            headers = {"Authorization": Omit(), **headers, self._key_header: self._key}
        return {"headers": headers}

    @property
    def learnt(self) -> tuple[str, ...]:
        """What this server was found to refuse of requests, in words."""
        return self.parameters.learnt

    def prepare(self) -> None:
        """Import now what the first request would wait for."""
        _ = self.client

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def open_stream(self, path: str, body: dict[str, Any]) -> EventStream:
        """The JSON objects that `path` answers with; returns once the server has begun to answer.

        A path with a leading slash stands beside `/v1`, not in it. Of the SDK's stream only the response is used: its
        decoder fails on events without data, and its types took about a fifth of the gateway's CPU time.

        Raises:
            BackendError: no answer, after retries.
        """
        from openai import AsyncStream

        kind, url = AsyncStream[object], self._url(path)
        body = whole_texts(body)

        def send(fitted: dict[str, Any]) -> Awaitable[AsyncStream[object]]:
            options = self._options()
            return self.client.post(url, body=fitted, cast_to=object, options=options, stream=True, stream_cls=kind)

        begin = partial(self.silence.request, length_of(body), measured=_asks_for_text(body))
        try:
            opened, request = await self._answered(begin, lambda: self._fitted(path, body, send))
        except BackendError as error:
            raise await self.explained(error) from None
        source = Source(self.name, f"POST {_public(url)}", request, self._key, self._translate)
        return EventStream(source, opened.response.aiter_bytes(), opened.response.aclose)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that `path` answers with; see `open_stream`.

        Raises:
            BackendError: no such answer, after retries.
        """
        try:
            return await self._posted(path, body)
        except BackendError as error:
            raise await self.explained(error) from None

    async def _posted(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        url, body = self._url(path), whole_texts(body)

        def send(fitted: dict[str, Any]) -> Awaitable[str]:
            return self.client.post(url, body=fitted, cast_to=str, options=self._options())

        begin = partial(self.silence.request, length_of(body), measured=_asks_for_text(body))
        told, request = await self._answered(begin, lambda: self._fitted(path, body, send))
        request.heard()
        request.end()
        answer = self._parsed(told, f"POST {_public(url)}")
        if not isinstance(answer, dict):
            raise BadResponse(self.name, f"{path} answered with something else than a JSON object")
        if (reply := told_error(answer)) is not None:
            raise backend_error(self.name, reply, self._key)
        found: dict[str, Any] = whole_texts(answer)
        return found

    def _parsed(self, text: str, request: str) -> object:
        """The JSON of a body, whatever it is declared to be.

        Raises:
            BadResponse: it is none.
        """
        try:
            return parsed(text)
        except ValueError as error:
            deep = text[:1] in ("{", "[") and "nested" in str(error)
            what = f"no JSON: {shortened(text[:2_000], self._key)[:80]!r}"
            what = html_words(text) if is_html(text) else f"JSON that cannot be read: {error}" if deep else what
            raise BadResponse(self.name, f"{request} answered with {what}", "is base_url right?") from None

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The JSON objects that `path` sends as events. Closing the iterator cancels the request.

        Raises:
            BackendError: no such answer, after retries; or it breaks off.
        """
        events = await self.open_stream(path, body)
        try:
            async for event in events:
                yield event
        finally:
            await events.close()

    async def _fitted(self, path: str, body: dict[str, Any], send: Callable[[dict[str, Any]], Awaitable[T]]) -> T:
        """What a request gives; where its parameters are refused, what it gives without them."""
        from openai import APIStatusError

        if path not in ("completions", "chat/completions"):
            return await send(body)
        sent = self.parameters.fitted(body)
        while True:
            try:
                return await send(sent)
            except APIStatusError as error:
                if error.status_code not in (400, 403, 422):  # 403: OpenAI, of log-probabilities
                    raise
                self.parameters.learn(error.response.text, sent)
                fitted = self.parameters.fitted(body)  # as another request may have learnt meanwhile, too
                if fitted == sent:
                    raise
                sent = fitted

    async def _answered(self, begin: Callable[[], Request], send: Callable[[], Awaitable[T]]) -> tuple[T, Request]:
        """What a request gives, tried again where that may help, and the request, which is still open. After silence it
        is tried again only within the time that a first one may wait.
        """
        tries, over = 0, self.silence.clock() + 0.9 * self._longest
        while True:
            request = begin()
            try:
                async with request.within(self.name), self.errors():
                    return await send(), request
            except BackendError as error:
                request.failed(error)
                pause = self._pause(error, tries)
                if pause is None or (isinstance(error, BackendTimeout) and self.silence.clock() >= over):
                    raise
            except BaseException:
                request.end()
                raise
            tries += 1
            await asyncio.sleep(pause)

    def _pause(self, error: BackendError, tries: int) -> float | None:
        """Seconds until the next try; None: there is none."""
        if not error.retryable or tries >= self._retries:
            return None
        asked = error.retry_after if isinstance(error, BackendUnavailable) else None
        if asked is None:
            return min(0.5 * 2.0**tries, 8.0) * random.uniform(0.75, 1.0)
        return None if asked > self.patience else asked * random.uniform(1.0, 1.1)

    def _url(self, path: str) -> str:
        base = self._base_url.rstrip("/")
        return base.removesuffix("/v1") + path if path.startswith("/") else f"{base}/{path}"

    async def models(self) -> tuple[tuple[str, ...], int | None]:
        """Names of the models that the server offers, and our model's context in tokens where it says so."""
        url = f"{self._with_version()}/models"
        begin = partial(Silence(side := min(self._longest, _SIDE_TIMEOUT), side).request, 0)
        answer: Any
        answer, _ = await self._answered(begin, lambda: self._got(url, self._options()))
        try:
            # Gemini lists `models/NAME` and takes NAME.
            entries = {str(entry["id"]).removeprefix("models/"): entry for entry in answer["data"]}
        except (TypeError, KeyError):
            raise BadResponse(self.name, "/v1/models answered with something else than a list of models") from None
        entry = entries.get(self.model) or (next(iter(entries.values())) if len(entries) == 1 else {})
        return tuple(entries), context_of(entry)

    async def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that a path beside the API answers with; empty: the server has nothing there. It is only good
        to know, so it is tried twice at most.
        """
        from openai import Timeout

        url = self._url(path)
        options: RequestOptions = {**self._options(), "timeout": Timeout(min(self._longest, _SIDE_TIMEOUT))}
        for _ in range(2):
            try:
                async with self.errors():
                    answer = await self._got(url, options, body)
            except BackendError as error:
                if not error.retryable or isinstance(error, BackendTimeout):
                    break
            else:
                return answer if isinstance(answer, dict) else {}
        return {}

    async def _got(self, url: str, options: RequestOptions, body: dict[str, Any] | None = None) -> object:
        """The JSON that an address answers with, to GET or to this body."""
        if body is None:
            return self._parsed(await self.client.get(url, cast_to=str, options=options), f"GET {_public(url)}")
        told = await self.client.post(url, body=whole_texts(body), cast_to=str, options=options)
        return self._parsed(told, f"POST {_public(url)}")

    def _with_version(self) -> str:
        base = self._base_url.rstrip("/")
        return base if re.search(r"/v\d", urlsplit(base).path) else f"{base}/v1"

    async def explained(self, error: BackendError) -> BackendError:
        """The same error, with what the server's list of models says: where its API is if not at `base_url`, or
        which names its models have.
        """
        known = InputTooLong | OutputTooLong | ContentFiltered | RateLimited | QuotaExhausted | BackendTimeout
        if isinstance(error, known):
            return error
        refused = error.status if isinstance(error, BackendRefused) else 0
        path = urlsplit(self._base_url).path.strip("/")
        if not path or ((refused in (404, 405) or isinstance(error, BadResponse)) and not _VERSION.fullmatch(path)):
            for base in dict.fromkeys((self._with_version(), urljoin(self._base_url, "/v1"))):
                if await self._listed(base) is not None:
                    words = "lacks its /v1" if not path else "is not where the API is"
                    return error.with_hint(f"base_url {words}: {_public(base)} answers, so write that")
        if refused in (400, 404) and "model" in error.problem.lower():
            names = await self._listed(self._with_version()) or ()
            if names and self.model not in names:
                more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
                near = difflib.get_close_matches(self.model, names, _LISTED, 0.0)
                return error.with_hint(f"set model to one that the server has: {', '.join(near[:_LISTED])}{more}")
        return error

    async def _listed(self, base: str) -> tuple[str, ...] | None:
        """The models that are listed at an address, as it answers at once; None: it has no such list."""
        try:
            async with asyncio.timeout(5.0), self.errors():
                answer: Any = await self._got(f"{base}/models", self._options())
                return tuple(str(entry["id"]) for entry in answer["data"])
        except (BackendError, TimeoutError, TypeError, KeyError):
            return None

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

        if isinstance(error, BackendError):
            return error
        if isinstance(error.__cause__, BackendError):  # raised below the SDK
            return error.__cause__
        if isinstance(error, openai.APITimeoutError):
            if isinstance(error.__cause__, Exception) and "ConnectTimeout" in type(error.__cause__).__name__:
                return BackendTimeout(self.name, "the connection was not made in time", _UNREACHABLE)
            return BackendTimeout(self.name, f"no answer within {self._longest:g} s", "its load, or raise timeout")
        if isinstance(error, openai.APIConnectionError):
            return BackendUnavailable(self.name, "cannot be reached", _UNREACHABLE)
        if isinstance(error, openai.APIStatusError):
            return self._of_status(error)
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            words = shortened(str(error), self._key)
            if "Timeout" in type(error).__name__:
                return BackendTimeout(self.name, f"fell silent for {self._longest:g} s in the middle of an answer")
            return BackendUnavailable(self.name, f"the connection broke: {words}")
        if isinstance(error, (ValueError, openai.OpenAIError)):
            return BadResponse(self.name, f"an answer that cannot be read: {shortened(str(error), self._key)}")
        return None

    def _of_status(self, error: APIStatusError) -> BackendError:
        body, url = error.response.text, _public(str(error.request.url))
        reply = reply_of(error.status_code, body, error.response.headers)
        if is_html(body):
            reply = replace(reply, words=f"{reply.words} from {url}")
        found = backend_error(self.name, reply, self._key)
        if error.response.headers.get("x-should-retry") == "false":
            found.retryable = False
        return found.with_hint(self._key_hint) if error.status_code in (401, 403) and found.hint else found


class ServerBackend:
    """A `Backend` behind a server. Subclasses add `steps` or `score`, and say in `trial` whether that works.

    Args:
        kind: what `identity` begins with.
        role, base_url, model, api_key, timeout, retries, extras, key_header, first_timeout: see `Server`.
    """

    def __init__(
        self,
        kind: str,
        role: str,
        base_url: str,
        model: str,
        *,
        api_key: str | None,
        timeout: float,
        retries: int,
        extras: RequestExtras = RequestExtras(),
        key_header: str = "",
        first_timeout: float | None = None,
    ) -> None:
        self.server = Server(
            role,
            base_url,
            model,
            api_key=api_key,
            timeout=timeout,
            retries=retries,
            extras=extras,
            key_header=key_header,
            first_timeout=first_timeout,
        )
        self.identity = f"{kind}:{model} at {Address(base_url)}"
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


def _key_hint(key: str | None) -> str:
    """What to say of a key that a server does not take."""
    if not key:
        return "it wants a key: name the environment variable that holds it in api_key_env"
    return f"check the key in {key.variable}" if isinstance(key, ApiKey) else "check the key that api_key_env names"


def _asks_for_text(body: Mapping[str, object]) -> bool:
    """Whether a request asks for more than a sign of life."""
    most = body.get("max_tokens", body.get("max_completion_tokens"))
    return not isinstance(most, int) or most >= _LEAST


def context_of(entry: object) -> int | None:
    """The context in an entry of a list of models, in tokens: of vLLM and SGLang, llama-server, OpenRouter, Groq."""
    if not isinstance(entry, dict):
        return None
    meta = entry.get("meta")
    values = [meta.get("n_ctx")] if isinstance(meta, dict) else []
    values += [entry.get(name) for name in ("max_model_len", "context_length", "context_window")]
    return next((count for value in values if (count := as_count(value))), None)


def _public(url: str) -> str:
    """An address without user, password and query, nor a slash at its end."""
    return Address(url).rstrip("/")


def _parsed_address(role: str, address: Address) -> SplitResult:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{role}: base_url {address!r} is not an http(s) address")
    return parts
