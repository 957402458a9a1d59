"""How long servers may say nothing: the limits, and that they hold wherever a server hangs."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.backends.hanging import HANGING, Way, closes, hanging, says_nothing, unreachable
from trim.backends.openai import OpenAIGenerator
from trim.backends.silence import ALWAYS, Silence, length_of
from trim.errors import BackendError, BackendTimeout, BackendUnavailable
from trim.prompts import load_template
from trim.scoring.vllm_prm import VllmPrm
from trim.types import Question, Role, StepOptions

QUESTION = Question("How many apples?")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def silence(first: float = 60.0, between: float = 60.0) -> tuple[Silence, Clock]:
    clock = Clock()
    return Silence(first, between, clock), clock


def answered(watched: Silence, clock: Clock, seconds: float, length: int = 100) -> None:
    request = watched.request(length)
    clock.now += seconds
    request.heard()
    request.end()


def test_the_configured_limits_hold_until_the_servers_own_times_are_known() -> None:
    watched, clock = silence(60.0, 30.0)
    for _ in range(20):
        request = watched.request(100)
        assert (request.first, request.between) == (60.0, 30.0)
        request.end()
        answered(watched, clock, 0.5)
    request = watched.request(100)
    assert request.first == pytest.approx(ALWAYS, abs=1.0)
    assert request.between == pytest.approx(ALWAYS, abs=1.0)


def test_the_limit_is_four_times_the_99th_percentile() -> None:
    watched, clock = silence(300.0)
    for seconds in [1.0] * 100 + [8.0] * 100:
        answered(watched, clock, seconds)
    assert watched.request(100).first == pytest.approx(32.0)


def test_a_long_prompt_on_two_cores_is_waited_for() -> None:
    """2,000 tokens at 88 tokens/s are 23 s; others of that length may come first."""
    watched, clock = silence(120.0)
    for _ in range(50):
        answered(watched, clock, 0.5)
    assert watched.request(8_000).first > 2 * 23
    answered(watched, clock, 23.0, 8_000)
    assert watched.request(10).between > 2 * 23  # texts that are being written wait for such a prompt, too


def test_a_server_that_has_rested_may_load_its_model() -> None:
    watched, clock = silence()
    for _ in range(50):
        answered(watched, clock, 0.1)
    assert watched.request(10).first < 30
    watched, clock = silence()
    for _ in range(50):
        answered(watched, clock, 0.1)
    clock.now += 61
    assert watched.request(10).first == 60


def test_each_timeout_in_a_row_doubles_the_limit() -> None:
    """So that a server that has become slower is not given up for ever."""
    watched, clock = silence(100.0)
    for _ in range(50):
        answered(watched, clock, 0.1)
    limits = []
    for _ in range(4):
        request = watched.request(0)
        limits.append(request.first)
        clock.now += request.first
        request.failed(BackendTimeout("m", "no answer"))
    assert limits == [20.0, 40.0, 80.0, 100.0]
    answered(watched, clock, 0.1, 0)
    assert watched.request(0).first == 20.0


def test_what_a_request_for_one_token_takes_says_nothing_of_others() -> None:
    watched, clock = silence()
    for _ in range(50):
        request = watched.request(10, measured=False)
        clock.now += 0.1
        request.heard()
        request.end()
    assert watched.request(10).first == 60.0


def test_silence_adds_up_over_requests_that_leave() -> None:
    watched, clock = silence(10.0)
    for _ in range(3):
        request = watched.request(0)
        clock.now += 3.0
        request.end()
        clock.now += 100.0  # nobody waits
    assert watched.waited == pytest.approx(9.0)
    assert not watched.is_overdue
    first, second = watched.request(0), watched.request(0)
    clock.now += 2.0
    assert watched.waited == pytest.approx(11.0)
    assert watched.is_overdue
    second.heard()  # to whomever it speaks
    assert watched.waited == 0
    first.end()
    second.end()
    second.end()
    assert watched.waited == 0
    assert not watched.is_overdue


def test_an_error_is_a_word() -> None:
    watched, clock = silence(10.0)
    request = watched.request(0)
    clock.now += 20.0
    request.failed(BackendUnavailable("m", "answered 503"))
    assert watched.waited == watched.timeouts == 0
    assert watched.heard_ago == float("inf")  # but no answer
    request = watched.request(0)
    request.failed(BackendTimeout("m", "answered 408", told=True))
    assert watched.timeouts == 0


def test_the_length_of_a_request() -> None:
    assert length_of({"prompt": "abc", "stop": ["de"], "n": None}) == 5
    assert length_of({"messages": [{"role": "user", "content": "abc"}]}) == 7
    assert length_of({"prompt": [1, 2, 3]}) == 12


def generator(url: str, timeout: float) -> OpenAIGenerator:
    return OpenAIGenerator(
        f"{url}/v1", "m", Role.WEAK, load_template("chatml"), backend="vllm", timeout=timeout, retries=0
    )


async def failed(model: OpenAIGenerator) -> tuple[BackendError, int, float]:
    """The error, tokens that were counted, and the seconds that it took."""
    began = time.monotonic()
    stream = model.steps(QUESTION, (), StepOptions())
    with pytest.raises(BackendError) as caught:
        await anext(stream)
    seconds = time.monotonic() - began
    pending = stream.pending_tokens
    await stream.aclose()
    assert not model.server.silence._open
    await model.aclose()
    return caught.value, pending, seconds


def test_wherever_a_server_hangs_it_is_given_up_in_time() -> None:
    async def each() -> dict[str, tuple[BackendError, int, float]]:
        async with AsyncExitStack() as stack:
            urls = {way.__name__: f"http://{await stack.enter_async_context(hanging(way))}" for way in HANGING}
            urls["handshake"] = f"https://{await stack.enter_async_context(hanging(says_nothing))}"
            urls["connection"] = f"http://{await stack.enter_async_context(unreachable())}"
            models = [generator(url, 0.8) for url in urls.values()]
            for model in models:
                model.prepare()
            return dict(zip(urls, await asyncio.gather(*map(failed, models)), strict=True))

    found = asyncio.run(each())
    for name, (error, _, seconds) in found.items():
        assert isinstance(error, BackendTimeout), name
        assert not error.told, name
        assert seconds < 15.0, name  # 0.8 s, on a machine that has nothing else to do
    assert "no answer within 0.8 s" in str(found["says_nothing"][0])
    assert "no answer within 0.8 s" in str(found["keeps_alive"][0])
    assert "in the middle of an answer" in str(found["trickles_in_an_event"][0])
    for name in ("stops_in_an_event", "trickles_in_an_event", "stops_between_events"):
        assert found[name][1] == 2, name  # what was written before is counted


def test_a_server_that_closes_is_no_hang() -> None:
    async def run() -> BackendError:
        async with hanging(closes) as where:
            return (await failed(generator(f"http://{where}", 5.0)))[0]

    assert isinstance(asyncio.run(run()), BackendUnavailable)


@pytest.mark.parametrize("way", [says_nothing])
def test_a_judge_is_given_up_in_time_and_calls_that_left_hold_no_slot(way: Way) -> None:
    async def run() -> None:
        async with hanging(way) as where:
            judge = VllmPrm(f"http://{where}", "m", load_template("chatml"), timeout=0.4, retries=0)
            with pytest.raises(BackendTimeout, match=r"no answer within 0\.4 s"):
                await judge.score(QUESTION, ("a",))
            judge.server.silence.first = 60.0
            for _ in range(4):  # all of its requests at a time
                call = asyncio.create_task(judge.score(QUESTION, ("a",)))
                await asyncio.sleep(0.02)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            async with asyncio.timeout(5):
                while judge.server.silence._open or not all(task.done() for task in judge._in_flight):
                    await asyncio.sleep(0.01)
            await judge.aclose()

    asyncio.run(run())


def test_after_silence_a_request_is_tried_again_only_within_the_time_of_one() -> None:
    async def run() -> tuple[int, int]:
        asked = 0

        async def way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            await reader.read(-1)

        async with hanging(way) as where:
            model = generator(f"http://{where}", 0.2)
            model.prepare()
            model.server._retries = 1
            with pytest.raises(BackendTimeout):
                await model.server.post("completions", {"prompt": "a"})
            once = asked
            model.server.silence.between = 10.0  # another one may wait for longer
            with pytest.raises(BackendTimeout):
                await model.server.post("completions", {"prompt": "a"})
            await model.aclose()
            return once, asked - once

    once, again = asyncio.run(run())
    assert (once, again) == (1, 2)
