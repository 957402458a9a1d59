"""`POST /v1/chat/completions`, `/v1/completions` and `/v1/responses`: from a request to its response, under a deadline
and for as long as the client stays connected.

A chunk is made, and a step asked for, only when the chunk before it is sent: a slow reader slows down its own answer
and costs no memory. A client that leaves cancels every request upstream.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from trim.errors import TrimError
from trim.off_loop import off_loop
from trim.server.allowance import AllowanceSpent
from trim.server.api_error import INTERNAL_ERROR, ApiError
from trim.server.completion_stream import Answer, Delta
from trim.server.gateway import Gateway, Job
from trim.server.request_body import read_body
from trim.server.request_parsing import parse
from trim.server.responses import ChatResponse
from trim.server.schemas import BaseRequest

logger = logging.getLogger("trim.server")
_ERROR_SECONDS = 2.0  # how long to try to send an error
_STEP = 100  # characters of a step in the `trim` object, about


def error_response(error: ApiError) -> Response:
    """The response for an error. OpenAI's SDK retries after 429 and 5xx; headers tell it when, and when not to."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == 502 or error.code == "insufficient_quota":
        headers["x-should-retry"] = "false"
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers)


class Endpoint:
    """An endpoint that answers questions: an ASGI application.

    Args:
        kind: the class of its requests.
    """

    def __init__(self, kind: type[BaseRequest]) -> None:
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read and answer one request; stop if the client leaves."""
        request, gateway = Request(scope, receive), scope["app"].state.gateway
        assert isinstance(gateway, Gateway)
        try:
            key = gateway.keys.authenticate(request.headers.get("authorization"))
            body = await read_body(request, gateway.settings.max_body)
            passed = None if gateway.passthrough is None else gateway.passthrough.others
            asked = await off_loop(len(body), parse, body, self._kind, passed=passed)
            await gateway.models.read(asked.model, asked.trim)
            job = gateway.job(key, asked)
        except ApiError as error:
            gateway.metrics.rejected.labels(error.status).inc()
            await error_response(error)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            with gateway.open_request(), gateway.request_span(job, request.headers):
                await _Exchange(gateway, job, send).run(receive)


class _Exchange:
    """A valid request and its response."""

    def __init__(self, gateway: Gateway, job: Job, send: Send) -> None:
        self._gateway = gateway
        self._job = job
        self._send = send
        self._begun = False  # the answer may cost something
        self._status_sent = False
        self._streaming = False

    async def run(self, receive: Receive) -> None:
        """Answer, unless the client leaves before the end."""
        work = asyncio.create_task(self._work())
        left = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel((work, left))
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _work(self) -> None:
        """Wait for a slot, answer, and settle what was used."""
        job, status, started = self._job, "cancelled", time.monotonic()
        failure: ApiError | None = None
        try:
            gateway = self._gateway
            async with asyncio.timeout(gateway.settings.deadline), gateway.admission.enter(job.key, job.allowance):
                await self._gateway.prepare(job)
                self._begun = True
                await (self._stream if job.request.stream else self._whole)()
            status = "ok"
        except ApiError as error:
            failure = error
        except AllowanceSpent as error:
            status, failure = "failed", ApiError(429, str(error), "insufficient_quota", kind="insufficient_quota")
        except TrimError as error:
            status, failure = "failed", job.client_error(error)
        except TimeoutError:
            message = f"no answer within {self._gateway.settings.deadline:g} s"
            status, failure = "failed", ApiError(504, message, "deadline_exceeded", kind="backend_error")
        except ClientDisconnect:
            raise
        except Exception:
            logger.exception("%s failed", job.response.id)
            status, failure = "failed", INTERNAL_ERROR
        finally:
            if self._begun:
                self._gateway.settle(job, status, time.monotonic() - started)
            else:
                self._gateway.usage.release(job.allowance.id)
        if failure is not None:
            await self._fail(failure)

    async def _whole(self) -> None:
        """Send the response at once."""
        reply = self._job.response
        tasks = [asyncio.create_task(_text(answer)) for answer in reply.answers]
        try:
            texts = await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)
        response = await off_loop(sum(map(len, texts)) + _length(reply), _whole_response, reply, texts)
        self._status_sent = True
        await response({"type": "http"}, _no_input, self._send)

    async def _stream(self) -> None:
        """Send a chunk for each step. The status is sent with the first step: what fails before has its own status."""
        response, started = self._job.response, time.monotonic()
        open_choices = len(response.answers)
        async with aclosing(_interleaved(response.answers)) as items:
            async for index, delta in items:
                if not self._streaming:
                    self._gateway.metrics.first_step.observe(time.monotonic() - started)
                    await self._begin()
                if delta is None:
                    open_choices -= 1
                    await self._events(response.closing(index, last=not open_choices), _length(response))
                else:
                    await self._events(response.chunks(index, delta), delta.length)
        await self._events(response.ending(), _length(response))
        await self._send({"type": "http.response.body", "body": response.end_of_stream, "more_body": False})

    async def _begin(self) -> None:
        self._status_sent = self._streaming = True
        response = self._job.response
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",  # proxies must not wait for more
        }
        pairs = [(k.encode(), v.encode()) for k, v in (headers | response.headers()).items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": pairs})
        await self._events(response.opening())

    async def _events(self, events: Iterable[dict[str, Any]], length: int = 0) -> None:
        """Send events; `length`: characters of all of them, about."""
        encoded = self._job.response.encoded
        for body in await off_loop(length, lambda: list(map(encoded, events))):
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _fail(self, error: ApiError) -> None:
        """Send the error: with its status if none was sent yet, else as an event of the stream."""
        self._gateway.metrics.rejected.labels(error.status).inc()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ERROR_SECONDS):
                if not self._status_sent:
                    await error_response(error)({"type": "http"}, _no_input, self._send)
                elif self._streaming:
                    await self._events((self._job.response.failure(error),))
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        raise ClientDisconnect  # it does not read: close the connection


def _length(response: ChatResponse) -> int:
    """Characters of the `trim` object, about."""
    return _STEP * sum(len(answer.decisions) for answer in response.answers)


def _whole_response(reply: ChatResponse, texts: Sequence[str]) -> Response:
    return JSONResponse(reply.completion(texts), headers=reply.headers() | reply.totals())


async def _text(answer: Answer) -> str:
    return "".join([delta.text async for delta in answer.deltas()])


async def _interleaved(answers: Sequence[Answer]) -> AsyncGenerator[tuple[int, Delta | None], None]:
    """Deltas of all answers as they come; None ends an answer. A delta waits until the one before it is taken."""
    if len(answers) == 1:
        async with aclosing(answers[0].deltas()) as deltas:
            async for delta in deltas:
                yield 0, delta
        yield 0, None
        return
    queue: asyncio.Queue[tuple[int, Delta | None] | Exception] = asyncio.Queue(1)

    async def read(index: int, answer: Answer) -> None:
        try:
            async with aclosing(answer.deltas()) as deltas:
                async for delta in deltas:
                    await queue.put((index, delta))
            await queue.put((index, None))
        except Exception as error:
            await queue.put(error)

    tasks = [asyncio.create_task(read(index, answer)) for index, answer in enumerate(answers)]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            left -= item[1] is None
            yield item
    finally:
        await _cancel(tasks)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _no_input() -> Any:
    return {"type": "http.disconnect"}
