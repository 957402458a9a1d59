"""A real HTTP server on loopback that speaks enough of OpenAI's and vLLM's API, with switches for misbehaviour."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

SOLUTION = "Tom has 3 apples.\n\nHe buys 4 more, so 3 + 4 = 7.\n\n#### 7"
STEPS = ("Tom has 3 apples.\n\n", "He buys 4 more, so 3 + 4 = 7.\n\n", "#### 7")
MARK = "<extra_0>"


def tokens(text: str) -> list[str]:
    """The fake model's tokens."""
    return re.findall(r"<extra_0>|\n\n|\s?\w+|[^\w\s]|\s", text)


def _is_wrong(text: str) -> bool:
    """Whether the fake judges find fault with a text: it says so, or it is the probe's wrong answer."""
    return "wrong" in text or " 12" in text


@dataclass
class Habits:
    """What the server does; each request takes one entry of the lists."""

    solution: str = SOLUTION
    # In every chunk if asked for, "timings": likewise, as llama-server; "end": in a last chunk, "zeros": the same, and
    # 0 before; "none".
    usage: str = "running"
    tell: str | None = "stop_reason"  # the field that names the stop string; "verbose": among what `verbose` asks for
    keep_stop: bool = False
    done: bool = True  # close streams with [DONE]
    repeat: bool = False  # begin chat replies with the partial answer
    chunk: int = 1  # tokens in a chunk
    logprobs: bool = True  # honour a wish for them
    tops: int = 20  # likeliest tokens that it tells at most
    delay: float = 0.0  # seconds before each chunk
    context: int = 10_000
    statuses: list[int] = field(default_factory=list)  # answers to the next requests; 200 goes through
    breaks: list[int | None] = field(default_factory=list)  # drop the connection after so many tokens
    ends: list[int | None] = field(default_factory=list)  # end the stream in order after so many tokens
    hang: float = 0.0  # seconds before any answer
    message: str = "no"  # of the errors
    models: list[dict[str, Any]] | None = None  # that it lists, instead of one called m
    props: dict[str, Any] | None = None  # of llama-server
    key: str = ""  # that it wants
    more_scores: int = 0
    pooling: list[Any] | None = None  # `data` of each text, instead of scores
    max_batch: int = 1000
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    cancelled: int = 0
    url: str = ""


def _logprobs(said: list[str], body: dict[str, Any], most: int) -> dict[str, Any]:
    """What a chunk says of its tokens, each with probability exp(-0.5), in the fields of a chat or of a completion."""
    count = min(most, int(body["logprobs"]) if "prompt" in body else body.get("top_logprobs", 0))
    tops = [("it", -0.5), *((f"other {n}", -3.0 - n) for n in range(count - 1))][:count]
    if "messages" in body:
        top = [{"token": token, "logprob": value, "bytes": None} for token, value in tops]
        return {"content": [{"token": token, "logprob": -0.5, "top_logprobs": top} for token in said]}
    told = [dict(tops)] * len(said) if tops else None
    return {"token_logprobs": [-0.5] * len(said), "tokens": said, "text_offset": [], "top_logprobs": told}


class _App:
    def __init__(self, habits: Habits) -> None:
        self.habits = habits

    async def refuse(self, request: Request) -> Response | None:
        habits = self.habits
        if request.method == "POST":
            habits.requests.append(await request.json())
            habits.headers.append(dict(request.headers))
        if habits.hang:
            await asyncio.sleep(habits.hang)
        status = habits.statuses.pop(0) if habits.statuses else 200
        if habits.key and request.headers.get("authorization") != f"Bearer {habits.key}":
            return JSONResponse({"error": {"message": f"Incorrect API key: {request.headers['authorization']}"}}, 401)
        if status != 200:
            body = {"error": {"message": habits.message, "code": status}}
            return JSONResponse(body, status, headers={"retry-after-ms": "5"})
        return None

    async def models(self, request: Request) -> Response:
        if refusal := await self.refuse(request):
            return refusal
        models = self.habits.models or [{"id": "m", "max_model_len": self.habits.context}]
        return JSONResponse({"object": "list", "data": models})

    async def properties(self, request: Request) -> Response:
        return JSONResponse(self.habits.props, 200 if self.habits.props is not None else 404)

    async def generate(self, request: Request) -> Response:
        if refusal := await self.refuse(request):
            return refusal
        habits, body = self.habits, self.habits.requests[-1]
        chat = "messages" in body
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        if body.get("echo"):
            return self.echo(prompt)
        if "Answer Yes or No" in prompt:
            return JSONResponse(self.verdict(prompt))
        if len(tokens(prompt)) + body.get("max_tokens", 16) > habits.context:
            message = f"This model's maximum context length is {habits.context} tokens, you requested more."
            return JSONResponse({"error": {"message": message}}, 400)
        if body["stream"]:
            return StreamingResponse(self.stream(body, prompt, chat=chat), media_type="text/event-stream")
        *_, last = [event async for event in self.events(body, prompt, chat=chat)]
        text = "".join(self.said)
        last["choices"] = [{"index": 0, **({"message": {"content": text}} if chat else {"text": text}), **self.why}]
        return JSONResponse(last)

    async def stream(self, body: dict[str, Any], prompt: str, *, chat: bool) -> AsyncIterator[str]:
        habits = self.habits
        broken = habits.breaks.pop(0) if habits.breaks else None
        ended = habits.ends.pop(0) if habits.ends else None
        sent, over = 0, False
        try:
            async for event in self.events(body, prompt, chat=chat):
                if sent == broken:
                    over = True
                    raise ConnectionError("dropped on purpose")
                if sent == ended:
                    over = True
                    return
                if habits.delay and sent:
                    await asyncio.sleep(habits.delay)
                sent += 1
                yield f"data: {json.dumps(event)}\n\n"
            over = True
            if habits.done:
                yield "data: [DONE]\n\n"
        finally:
            habits.cancelled += not over

    async def events(self, body: dict[str, Any], prompt: str, *, chat: bool) -> AsyncIterator[dict[str, Any]]:
        habits = self.habits
        said, self.why = self.answer(prompt, body)
        if chat and habits.repeat and body["messages"][-1]["role"] == "assistant":
            said = [*tokens(prompt.rstrip()), *said]
        self.said = said
        # The token of the end or of a stop string that was cut off is counted like any other.
        self.unseen = self.why["finish_reason"] == "stop" and said[-1:] != ["\n\n"]
        options = body.get("stream_options", {})
        read = len(tokens(prompt))
        chunks = [said[i : i + habits.chunk] for i in range(0, len(said), habits.chunk)] or [[]]
        written = 0
        for i, chunk in enumerate(chunks):
            last = i == len(chunks) - 1
            written += len(chunk) + (last and self.unseen)
            text = "".join(chunk)
            choice: dict[str, Any] = {"index": 0, "delta": {"content": text}} if chat else {"index": 0, "text": text}
            choice |= self.why if last else {"finish_reason": None}
            if body.get("logprobs") and self.habits.logprobs:
                choice["logprobs"] = _logprobs(chunk, body, habits.tops)
            usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
            running = habits.usage == "running" and options.get("continuous_usage_stats")
            zeros = {"usage": dict.fromkeys(usage, 0)} if habits.usage == "zeros" else {}
            if habits.usage == "timings" and body.get("timings_per_token"):
                zeros = {"timings": {"prompt_n": read - 2, "cache_n": 2, "predicted_n": written}}
            event = {"id": "1", "choices": [choice], **({"usage": usage} if running else zeros)}
            if "__verbose" in choice:
                event["__verbose"] = {"stopping_word": choice.pop("__verbose")}
            yield event
        if habits.usage not in ("none", "timings") and (options.get("include_usage") or not body["stream"]):
            yield {"id": "1", "choices": [], "usage": usage | {"prompt_tokens_details": {"cached_tokens": 2}}}

    def answer(self, prompt: str, body: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """What the model writes, and why it ends."""
        habits, solution = self.habits, self.habits.solution
        begun = max(n for n in range(len(solution) + 1) if prompt.endswith(solution[:n]))
        if begun == 0 and (given := body.get("messages")) and given[-1]["role"] == "user":
            begun = next((n for n in range(len(solution), 0, -1) if solution[:n] in prompt), 0)
        rest = tokens(solution[begun:])
        stop, limit = body.get("stop"), body.get("max_tokens") or body.get("max_completion_tokens", 16)
        told: dict[str, Any] = {} if habits.tell is None else {habits.tell: None}
        if habits.tell == "verbose":
            told = {"__verbose": ""} if body.get("verbose") else {}
        if stop and stop[0] in rest and rest.index(stop[0]) < limit:
            end = rest.index(stop[0])
            told = told and dict.fromkeys(told, stop[0])
            return rest[: end + habits.keep_stop], {"finish_reason": "stop"} | told
        if len(rest) >= limit:
            return rest[:limit], {"finish_reason": "length"} | told
        return rest, {"finish_reason": "stop"} | told

    @staticmethod
    def verdict(prompt: str) -> dict[str, Any]:
        """What it says about the last step: no, if that is wrong."""
        word = "No" if _is_wrong(prompt.partition("Solution so far:")[2]) else "Yes"
        top = [{"token": token, "logprob": -0.1 if token == word else -2.4} for token in ("Yes", "No")]
        content = [{"token": word, "logprob": -0.1, "top_logprobs": top}]
        choice = {"message": {"content": word}, "finish_reason": "stop", "logprobs": {"content": content}}
        return {"choices": [choice], "usage": {"prompt_tokens": len(tokens(prompt)), "completion_tokens": 1}}

    def echo(self, prompt: str | list[int]) -> Response:
        """Log-probabilities of the prompt: -5 for a token that is "wrong", else -0.1."""
        parts = tokens(prompt) if isinstance(prompt, str) else [str(i) for i in prompt]
        parts.append("x")
        offsets = [sum(map(len, parts[:i])) for i in range(len(parts))]
        values = [None, *(-5.0 if _is_wrong(part) else -0.1 for part in parts[1:])]
        # Of two tokens that might stand there: 0.5 and 0.3, or 0.98 and 0.01 where the text itself is sure.
        tops = [None, *({"a": math.log(p), "b": math.log(q)} for p, q in map(self.likeliest, parts[1:]))]
        logprobs = {"tokens": parts, "token_logprobs": values, "text_offset": offsets, "top_logprobs": tops}
        choice = {"index": 0, "text": "".join(parts), "logprobs": logprobs, "finish_reason": "length"}
        return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": len(parts) - 1, "completion_tokens": 1}})

    @staticmethod
    def likeliest(part: str) -> tuple[float, float]:
        return (0.98, 0.01) if part.strip() == "all" else (0.5, 0.3)

    async def pool(self, request: Request) -> Response:
        if refusal := await self.refuse(request):
            return refusal
        habits, texts = self.habits, self.habits.requests[-1]["input"]
        if any(len(tokens(text)) > habits.context for text in texts):
            message = f"The input is too long: maximum context length is {habits.context} tokens."
            return JSONResponse({"error": {"message": message}}, 400)
        if habits.delay:
            await asyncio.sleep(habits.delay)
        data = [{"index": i, "data": self.scores(text)} for i, text in enumerate(texts)]
        data.reverse()  # the order is nobody's promise
        read = sum(len(tokens(text)) for text in texts)
        body = {"data": data, "usage": {"prompt_tokens": read, "total_tokens": read}}
        return Response(json.dumps(body), media_type="application/json")  # with NaN, as some servers send it

    def scores(self, text: str) -> Any:
        if self.habits.pooling is not None:
            return self.habits.pooling
        parts = text.split(MARK)[:-1]
        good = [0.1 if _is_wrong(part) else 0.9 for part in parts]
        if self.habits.more_scores < 0:
            good = good[: self.habits.more_scores]
        return [[1 - p, p] for p in good + [0.5] * self.habits.more_scores]


def application(habits: Habits) -> Starlette:
    """The server's application."""
    app = _App(habits)
    routes = [
        Route("/v1/models", app.models),
        Route("/props", app.properties),
        Route("/v1/completions", app.generate, methods=["POST"]),
        Route("/v1/chat/completions", app.generate, methods=["POST"]),
        Route("/pooling", app.pool, methods=["POST"]),
    ]
    return Starlette(routes=routes)


@contextmanager
def serving(**switches: Any) -> Iterator[Habits]:
    """A server with these habits on a free port; `habits.url` is its address without /v1."""
    habits = Habits(**switches)
    with listening(application(habits)) as url:
        habits.url = url
        yield habits


@contextmanager
def listening(app: Starlette, *, grace: int = 0, http: Any = "auto") -> Iterator[str]:
    """The address of an application that is served on a free port. `grace`: seconds in which it may end requests;
    `http`: uvicorn's name of a protocol, or its class.
    """
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=grace, http=http)
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port()}"
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


class _Server(uvicorn.Server):
    """Uvicorn in a thread, without the tenths of a second that it waits at each end: hundreds of tests start one."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def port(self) -> int:
        """Where it listens, once it does."""
        self._opened.result(20)
        return int(self.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """End it."""
        loop, closing = self._opened.result(20)
        loop.call_soon_threadsafe(closing.set)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            super().run(sockets)
        finally:
            if not self._opened.done():
                self._opened.set_exception(RuntimeError("the server did not start"))

    async def main_loop(self) -> None:
        await self.on_tick(0)
        closing = asyncio.Event()
        self._opened.set_result((asyncio.get_running_loop(), closing))
        await closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        grace, state = self.config.timeout_graceful_shutdown or 0, self.server_state
        for server in self.servers:
            server.close()
        for connection in list(state.connections):
            connection.shutdown()
        limit = time.monotonic() + max(grace, 0.1)
        while (state.connections or state.tasks) and time.monotonic() < limit:
            await asyncio.sleep(0.002)
        for task in state.tasks:
            task.cancel()
        if grace:
            await self.lifespan.shutdown()
