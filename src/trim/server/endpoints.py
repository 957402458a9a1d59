"""`POST /v1/chat/completions` and `/v1/completions`: from a request to its replies, watching the clock and whether the
client is still there.

A chunk is only made once the one before it is sent, and a step only asked for then: a client that reads slowly slows
its own answer down and holds no memory. A client that leaves cancels every request upstream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from trim.errors import TrimError
from trim.server.completion_stream import Answer, Piece
from trim.server.gateway import Gateway, Job, refusal_of
from trim.server.schemas import Asked, Refusal, parse

logger = logging.getLogger("trim.server")
_BODY_SECONDS = 30.0  # that a client has to send its body
INTERNAL = Refusal(500, "an error in the gateway; its log has it", "internal_error", kind="server_error")
_LAST_WORD = 2.0  # seconds to tell a client why its answer breaks off


def refuse(refusal: Refusal) -> Response:
    """An error as a response. The SDK tries again after 429 and 5xx; it is told when, and when not to."""
    headers = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after)))
    if refusal.status == 502 or refusal.code == "insufficient_quota":
        headers["x-should-retry"] = "false"
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(refusal.body(), refusal.status, headers)


@dataclass
class _Sent:
    """How far the response is."""

    begun: bool = False  # it had its turn
    answered: bool = False  # there is a status
    streaming: bool = False


class Endpoint:
    """An endpoint that answers questions, an ASGI application.

    Args:
        kind: of the requests.
    """

    def __init__(self, kind: type[Asked]) -> None:
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await _Exchange(scope["app"].state.gateway, self._kind).answer(scope, receive, send)


class _Exchange:
    """A request and its response."""

    def __init__(self, gateway: Gateway, kind: type[Asked]) -> None:
        self._gateway = gateway
        self._kind = kind

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, answer, and stop where the client leaves."""
        request = Request(scope, receive)
        try:
            key = self._gateway.keys.who(request.headers.get("authorization"))
            body = await read_body(request, self._gateway.settings.max_body)
            job = self._gateway.job(key, parse(body, self._kind, passing=self._gateway.settings.pass_through))
        except Refusal as refusal:
            self._gateway.metrics.refused.labels(refusal.status).inc()
            await refuse(refusal)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        policy = job.choice.policy
        with self._gateway.spans.request(request.headers, policy=policy.name, parameter=policy.parameter):
            work = asyncio.create_task(self._work(job, send))
            await self._watch(work, receive)

    async def _watch(self, work: asyncio.Task[None], receive: Receive) -> None:
        """Wait for the answer, and cancel it if the client leaves."""
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel((work, gone))
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _work(self, job: Job, send: Send) -> None:
        """Wait for a turn, answer, keep the books."""
        sent, status, started = _Sent(), "left", time.monotonic()
        refusal: Refusal | None = None
        try:
            async with asyncio.timeout(self._gateway.settings.deadline), self._gateway.gate.enter(job.key):
                sent.begun = True
                await (self._stream if job.request.stream else self._whole)(job, send, sent)
            status = "ok"
        except Refusal as error:
            refusal = error
        except TrimError as error:
            status, refusal = "failed", refusal_of(error, job.request)
        except TimeoutError:
            words = f"no answer within {self._gateway.settings.deadline:g} s"
            status, refusal = "failed", Refusal(504, words, "deadline_exceeded", kind="backend_error")
        except ClientDisconnect:
            raise
        except Exception:
            logger.exception("%s failed", job.replies.id)
            status, refusal = "failed", INTERNAL
        finally:
            if sent.begun:
                self._gateway.settle(job, status, time.monotonic() - started)
        if refusal is not None:
            await self._fail(refusal, send, sent)

    async def _whole(self, job: Job, send: Send, sent: _Sent) -> None:
        """A reply in one piece."""
        tasks = [asyncio.create_task(_text(answer)) for answer in job.replies.answers]
        try:
            body = job.replies.completion(await asyncio.gather(*tasks))
        finally:
            await _cancel(tasks)
        sent.answered = True
        response = JSONResponse(body, headers=job.replies.headers() | job.replies.totals())
        await response({"type": "http"}, _nothing, send)

    async def _stream(self, job: Job, send: Send, sent: _Sent) -> None:
        """A chunk for each step. The status waits for the first step, so that what fails before it has its own."""
        replies, started = job.replies, time.monotonic()
        open_choices = len(replies.answers)
        async with aclosing(_merged(replies.answers)) as items:
            async for index, piece in items:
                if not sent.streaming:
                    self._gateway.metrics.first.observe(time.monotonic() - started)
                    await self._begin(job, send, sent)
                if piece is None:
                    open_choices -= 1
                    await _event(send, replies.closing(index, last=not open_choices))
                elif (chunk := replies.piece(index, piece)) is not None:
                    await _event(send, chunk)
        if replies.include_usage:
            await _event(send, replies.counts())
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    async def _begin(self, job: Job, send: Send, sent: _Sent) -> None:
        sent.answered = sent.streaming = True
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",  # proxies shall not wait for more
        }
        pairs = [(k.encode(), v.encode()) for k, v in (headers | job.replies.headers()).items()]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        for index in range(len(job.replies.answers)):
            if (opening := job.replies.opening(index)) is not None:
                await _event(send, opening)

    async def _fail(self, refusal: Refusal, send: Send, sent: _Sent) -> None:
        """Tell the client: with a status if there is none yet, else with an error in the stream."""
        self._gateway.metrics.refused.labels(refusal.status).inc()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                if not sent.answered:
                    await refuse(refusal)({"type": "http"}, _nothing, send)
                elif sent.streaming:
                    await _event(send, refusal.body())
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        raise ClientDisconnect  # it does not read: the connection is closed


async def read_body(request: Request, most: int) -> bytes:
    """The body.

    Raises:
        Refusal: 413, it is too long; 408, it does not come.
        ClientDisconnect: the client left.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise Refusal(413, f"the body has more than {most} bytes", "body_too_large")
    except TimeoutError:
        raise Refusal(408, "the body did not come in time", "body_timeout") from None
    return bytes(body)


async def _text(answer: Answer) -> str:
    return "".join([piece.text async for piece in answer.pieces()])


async def _merged(answers: Sequence[Answer]) -> AsyncGenerator[tuple[int, Piece | None], None]:
    """Pieces of all answers as they come; None ends one. A piece waits until the one before it is taken."""
    if len(answers) == 1:
        async with aclosing(answers[0].pieces()) as pieces:
            async for piece in pieces:
                yield 0, piece
        yield 0, None
        return
    queue: asyncio.Queue[tuple[int, Piece | None] | Exception] = asyncio.Queue(1)

    async def read(index: int, answer: Answer) -> None:
        try:
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    await queue.put((index, piece))
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


async def _event(send: Send, value: dict[str, Any]) -> None:
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})


async def _gone(receive: Receive) -> None:
    """Returns once the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing() -> Any:
    return {"type": "http.disconnect"}
