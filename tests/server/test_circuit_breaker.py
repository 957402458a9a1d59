"""Backends that fail, clients that leave, clients that do not read."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.gateway import STRONG, WEAK, ask, serving, simulated
from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.config.factory import Backends
from trim.errors import BackendRefused, BackendTimeout, BackendUnavailable, BadResponse, InputTooLong
from trim.server.trace_recorder import TraceRecorder
from trim.types import Question, Role, Step, StepOptions, Trace


@dataclass
class Failing(BaseGenerator):
    """A generator that fails while it is told to."""

    model: Any
    error: Exception | None = None
    after: int = 0  # steps
    calls: int = 0
    open: int = 0
    closed: list[float] = field(default_factory=list)

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        self.calls += 1
        self.open += 1
        count = 0
        try:
            async for step in self.model.steps(question, kept, options):
                if self.error is not None and count == self.after:
                    raise self.error
                count += 1
                yield step
        finally:
            self.open -= 1
            self.closed.append(time.monotonic())


def _settings(backends: Backends, **roles: Any) -> Backends:
    """The same with other settings of a role."""
    config = backends.config
    changed = {role: replace(getattr(config, role), **values) for role, values in roles.items()}
    return replace(backends, config=replace(config, **changed))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BackendTimeout("weak model", "no answer"), 504, "backend_timeout"),
        (BackendUnavailable("weak model", "cannot be reached"), 503, "backend_unavailable"),
        (BackendRefused("weak model", "answered 403"), 502, "backend_error"),
        (BadResponse("weak model", "half a message"), 502, "backend_error"),
        (InputTooLong("weak model", "too long"), 400, "context_length_exceeded"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_failure_is_one_clear_error(error: Exception, status: int, code: str) -> None:
    with serving(simulated(Failing(WEAK, error))) as served:
        for stream in (False, True):
            answer = served.post(ask("hard 7", stream=stream))
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert "weak model" in answer.json()["error"]["message"]
    with serving(simulated(Failing(WEAK, error, after=2))) as served:
        answer = served.post(ask("hard 7", model="trim-weak", stream=True, n=2))
        assert answer.status_code == 200
        assert f'"{code}"' in answer.text.strip().splitlines()[-1]
        assert served.spent(1).cost > 0  # what was written before is paid for


def test_fallbacks_are_visible() -> None:
    weak = Failing(WEAK, BackendUnavailable("weak model", "is gone"), after=1)
    backends = _settings(simulated(weak), weak={"on_error": "strong"})
    with serving(backends) as served:
        answer = served.post(ask("hard 7", seed=5))
        (fallback,) = answer.json()["trim"]["fallbacks"]
        assert (fallback["role"], fallback["to"]) == ("weak", "strong")
        assert "is gone" in fallback["error"]
        assert answer.headers["x-trim-fallbacks"] == "1"
        assert 'trim_fallbacks_total{role="weak"} 1.0' in served.get("/metrics").text


def test_a_breaker_opens_and_closes_again() -> None:
    strong = Failing(STRONG, BackendUnavailable("strong model", "is gone"))
    with serving(simulated(strong=strong, breaker_failures=2, breaker_cooldown=1.0)) as served:
        body = ask("hard 7", model="trim-strong")
        answers = [served.post(body) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {503}
        assert strong.calls == 2  # then nobody asked any more
        assert "circuit open after 2 failures" in answers[-1].json()["error"]["message"]
        assert 'trim_backend_circuit_open{role="strong"} 1.0' in served.get("/metrics").text
        time.sleep(1.1)
        assert served.post(body).status_code == 503  # the trial call failed too
        assert strong.calls == 3
        assert "circuit open after 3" in served.post(body).json()["error"]["message"]
        time.sleep(1.1)
        strong.error = None
        assert served.post(body).status_code == 200
        assert served.post(ask("hard 7", model="trim-weak")).status_code == 200
        assert 'trim_backend_circuit_open{role="strong"} 0.0' in served.get("/metrics").text


def test_what_a_request_gets_wrong_takes_no_backend_out() -> None:
    weak = Failing(WEAK, InputTooLong("weak model", "too long"))
    with serving(simulated(weak, breaker_failures=2)) as served:
        assert [served.post(ask()).status_code for _ in range(4)] == [400] * 4


def test_a_client_that_leaves_cancels_the_work() -> None:
    weak = Failing(replace(WEAK, token_seconds=0.02))  # 0.8 s a step
    with serving(simulated(weak)) as served:
        for stream in (False, True):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{served.url}/v1/chat/completions", json=ask(stream=stream), timeout=0.3)
            left = time.monotonic()
            while weak.open and time.monotonic() < left + 2:
                time.sleep(0.005)
            assert weak.open == 0
            assert weak.closed[-1] - left < 0.2
        assert served.spent(2).requests == 2
        assert 'status="cancelled"} 2.0' in served.get("/metrics").text


def test_a_half_written_step_is_paid_for() -> None:
    with serving(simulated(replace(WEAK, token_seconds=0.02))) as served:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/v1/chat/completions", json=ask(), timeout=0.3)
        assert served.spent(1).cost > 0
        assert 'trim_tokens_total{kind="discarded",role="weak"}' in served.get("/metrics").text


def test_a_client_that_does_not_read_is_waited_for() -> None:
    long = replace(WEAK, ends=(0.0,) * 29 + (1.0,), accuracy=1.0)
    weak = Failing(_Wordy(long))
    with serving(simulated(weak, deadline=1.0)) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            body = httpx.Request("POST", served.url, json=ask(stream=True, model="trim-weak")).content
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            time.sleep(0.5)
            assert weak.open == 1  # it has more to say, and waits
            assert _Wordy.written < 25
            time.sleep(1.0)
            assert weak.open == 0  # until the deadline
        assert served.spent(1).requests == 1


class _Wordy(BaseGenerator):
    """Steps of half a megabyte."""

    written = 0

    def __init__(self, model: Any) -> None:
        self._model = model

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        async for step in self._model.steps(question, kept, options):
            await asyncio.sleep(0)
            type(self).written += 1
            yield replace(step, text=step.text + "x" * 500_000)


def test_the_judge_may_fail_too() -> None:
    class Broken(BaseBackend):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Any:
            raise BadResponse("process reward model", "2 scores for 3 steps")

    with serving(simulated(prm=Broken())) as served:
        assert served.post(ask()).status_code == 502
        assert served.post(ask(model="trim-weak")).status_code == 200
    with serving(_settings(simulated(prm=Broken()), prm={"on_error": "weak"})) as served:
        (fallback,) = served.post(ask()).json()["trim"]["fallbacks"]
        assert fallback["role"] == Role.PRM


@pytest.mark.parametrize("stream", [False, True])
def test_what_nobody_thought_of_is_an_error_in_the_same_shape(stream: bool) -> None:
    error: Any = ZeroDivisionError("a bug")
    with serving(simulated(Failing(WEAK, error, after=1))) as served:
        answer = served.post(ask("hard 7", model="trim-weak", stream=stream))
        told = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))["error"]
        assert (told["code"], told["type"]) == ("internal_error", "server_error")
        assert "a bug" not in answer.text
        assert answer.status_code == (200 if stream else 500)
        assert 'status="failed"} 1.0' in served.get("/metrics").text


def test_a_full_disk_takes_no_answers_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: TraceRecorder, trace: Trace) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TraceRecorder, "append", full)
    with serving(simulated(record=str(tmp_path))) as served:
        assert [served.post(ask(n=2)).status_code for _ in range(2)] == [200, 200]
        assert served.spent(2).requests == 2
        assert 'trim_requests_total{policy="threshold",status="ok"} 2.0' in served.get("/metrics").text
        # both choices of both requests were learned from, not just the first
        steps = sum(len(recent.response.trim()["steps"]) for recent in served.gateway.recent)
        text = served.get("/metrics").text
        kept = sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("trim_steps_total{"))
        assert kept == steps
