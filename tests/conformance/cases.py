"""What is tried on every kind of server. A case asks the scripted server through the real generator and asserts."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from typing import Any

from tests.conformance.kinds import DONE, Kind, event
from tests.conformance.scripted_server import Answering, Reply, Script, ScriptedServer, said
from trim.backends.client import Server
from trim.backends.openai import OpenAIGenerator
from trim.backends.token_counter import TokenCounter
from trim.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    BadResponse,
    ContentFiltered,
    InputTooLong,
    QuotaExhausted,
    RateLimited,
)
from trim.prompts import load_template
from trim.types import Finish, Question, Role, Step, StepOptions

QUESTION = Question("How many apples does Tom have?")
TEXT = "Tom has 3 + 4 = 7 apples."
PARTS = re.findall(r"\s?\S+", TEXT)


class Words(TokenCounter):
    """Counts words, as a model's own tokenizer counts tokens."""

    def __init__(self) -> None:
        pass

    def count(self, text: str) -> int:
        return len(re.findall(r"\n\n|\s?\w+|[^\w\s]|\s", text))


@dataclass
class Outcome:
    """What came of a question."""

    script: Script
    steps: list[Step] = field(default_factory=list)
    error: BackendError | None = None
    seconds: float = 0.0
    generator: Any = None

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps)

    @property
    def asked(self) -> int:
        return len(self.script.requests)


@dataclass
class Bench:
    """Asks a kind of server that is scripted. `connections` are those of all benches: opening some takes a while."""

    server: ScriptedServer
    kind: Kind
    connections: Server

    async def ask(
        self,
        *replies: Answering,
        kept: tuple[str, ...] = (),
        retries: int = 0,
        timeout: float = 5.0,
        counter: TokenCounter | None = Words(),
        **options: Any,
    ) -> Outcome:
        """One question, to its end."""
        kind, outcome = self.kind, Outcome(self.server.add(replies))
        generator = OpenAIGenerator(
            outcome.script.url,
            "m",
            Role.WEAK,
            load_template("chatml"),
            backend=kind.backend,
            continuation=kind.continuation,
            tokenizer=counter,
            retries=retries,
            timeout=timeout,
            **options,
        )
        outcome.generator = generator
        generator.server._client, generator.server._loop = self.connections.client, asyncio.get_running_loop()
        began = time.monotonic()
        stream = generator.steps(QUESTION, kept, StepOptions())
        try:
            async for step in stream:
                outcome.steps.append(step)
        except BackendError as error:
            outcome.error = error
        finally:
            await stream.aclose()
        outcome.seconds = time.monotonic() - began
        return outcome


def fine(outcome: Outcome, text: str = TEXT) -> None:
    """It ended well, with this text, in one request."""
    assert outcome.error is None, outcome.error
    assert outcome.text == text
    assert outcome.asked == 1


Check = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One column of the table.

    Args:
        short: its head.
        about: what it is.
        check: raises an AssertionError where it goes wrong.
        applies: to which kinds.
    """

    short: str
    about: str
    check: Check
    applies: Callable[[Kind], bool] = lambda kind: True


CASES: list[Case] = []


def case(short: str, about: str, applies: Callable[[Kind], bool] = lambda kind: True) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        CASES.append(Case(short, about, check, applies))
        return check

    return add


# Text --------------------------------------------------------------------------------------------------------------

_SPACE = " \tdef f(a):\n    b = 1\n\n    return b\n\n\n\n\tc\r\n\r\n  d\f \n\n\n"


@case("spc", "white space: indents, blank lines in runs, tabs, CRLF, at both ends; cut into chunks anywhere")
async def white_space(bench: Bench) -> None:
    for width in (1, 3, len(_SPACE)):
        parts = [_SPACE[i : i + width] for i in range(0, len(_SPACE), width)]
        fine(await bench.ask(bench.kind.stream(parts)), _SPACE)
    fine(await bench.ask(said(200, bench.kind.whole(_SPACE))), _SPACE)


@case(
    "thk", "reasoning in <think> and in fields of its own, `reasoning_content` or `reasoning`: kept, counted, no answer"
)
async def reasoning(bench: Bench) -> None:
    kind, thoughts, said_ = bench.kind, ["Maybe \\boxed{5}?", "\n\nNo: ", "3 + 4.\n"], ["\n\nSo ", "\\boxed{7}."]
    marked = ["<think>\n", *thoughts, "</think>", *said_]
    outcome = await bench.ask(kind.stream(marked))
    fine(outcome, "".join(marked))
    assert len(outcome.steps) > 1
    for name in ("reasoning_content", "reasoning") if kind.chat else ():
        parts = [kind.chunk("", **({"usage": kind.counts(20, None, n + 1)} if kind.running else {})) for n in range(5)]
        for part, text in zip(parts, [*thoughts, *said_], strict=True):
            part["choices"][0]["delta"] = {name: text} if text in thoughts else {"content": text}
        end = kind.events([], usage=kind.counts(20, None, 40))
        outcome = await bench.ask(Reply([*map(event, parts), *end, DONE]))
        fine(outcome, "".join([*thoughts, *said_]))
        assert "".join(step.text for step in outcome.steps if step.field == name) == "".join(thoughts)
        assert [step.text for step in outcome.steps if step.field == "content"] == ["".join(said_)]
        assert sum(step.tokens for step in outcome.steps) == 40


_CHARACTERS = "👍🏽 é e\u0301 한 � naïve ✓ 𝔸 = 7"


@case("uni", "characters split over chunks (surrogate pairs) and over bytes; combining marks; U+FFFD")
async def unicode_whole(bench: Bench) -> None:
    kind, units = bench.kind, _CHARACTERS.encode("utf-16-le")
    halves = [units[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(units), 2)]
    fine(await bench.ask(kind.stream(halves)), _CHARACTERS)
    stream = b"".join(kind.events([_CHARACTERS], ascii_only=False, running=[9] if kind.running else None))
    pieces = [stream[i : i + 7] for i in range(0, len(stream), 7)]
    fine(await bench.ask(Reply([*pieces, DONE])), _CHARACTERS)
    fine(await bench.ask(kind.stream(["a \ud83d"])), "a �")
    fine(await bench.ask(Reply([json.dumps(kind.whole("a \ud83d\ude00 \ude00")).encode()])), "a 😀 �")


@case("pre", "a repeated partial answer is dropped; text that only looks like one is not", lambda kind: kind.chat)
async def prefix(bench: Bench) -> None:
    kind, kept = bench.kind, ("Step 1 done.\n\n",)
    before = [kind.stream(["x"])] if kind.repeats is None else []
    alike = await bench.ask(*before, kind.stream(["Step", " 2", " done."]), kept=kept)
    assert (alike.error, alike.text) == (None, "Step 2 done.")
    if kind.repeats is False:
        same = await bench.ask(kind.stream(["Step 1 done.", "\n\nStep 2 done."]), kept=kept)
        assert same.text.startswith("Step 1 done.")
        return

    def echo(rest: list[str], request: dict[str, Any]) -> Reply:
        begun = request["messages"][-1]["content"]
        return kind.stream([begun[:3], begun[3:], *rest])

    def repeats_once(rest: list[str]) -> Callable[[dict[str, Any]], Reply]:
        """Repeats in the trial, and then says this."""
        return lambda request: echo([], request) if request["max_tokens"] < 5 else kind.stream(rest)

    repeated = await bench.ask(partial(echo, ["So", " 7."]), kept=kept)
    assert (repeated.error, repeated.text) == (None, "So 7.")
    trimmed = await bench.ask(repeats_once(["Step 1 do", "ne.", "\n\n", "So 7."]), kept=kept)
    assert trimmed.text == "So 7."
    for other in (["Step 1 ", "do", "NE, so 7."], ["Step 1"], ["Step 2 done."]):
        found = await bench.ask(repeats_once(other), kept=kept)
        assert found.text == "".join(other)


# Streams -----------------------------------------------------------------------------------------------------------


@case("sse", "retry, id, ping, comments, events without data, data lines, CRLF, a byte order mark")
async def events(bench: Bench) -> None:
    noise = [
        b": comment\n\n",
        b"retry: 3000\n\n",
        b"id: 7\n\n",
        b"event: ping\n\n",
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b"data:\n\n",
        b"\n\n",
        b"event: message\nid: 8\n",
    ]
    kind = bench.kind
    stream = kind.events(PARTS, running=range(1, len(PARTS) + 1) if kind.running else None)
    mixed = [piece for place, part in enumerate(stream) for piece in (noise[place % len(noise)], part)]
    fine(await bench.ask(Reply([b"\xef\xbb\xbf", *noise, *mixed, *noise, DONE])))
    lines = b"".join(mixed).replace(b"\n", b"\r\n")
    fine(await bench.ask(Reply([lines[i : i + 11] for i in range(0, len(lines), 11)])))
    fine(await bench.ask(Reply([b"".join(stream).replace(b"\n", b"\r")])))
    pretty = [b"".join(b"data: %s\n" % line for line in _pretty(part)) + b"\n" for part in stream]
    fine(await bench.ask(Reply([*pretty, DONE])))


def _pretty(raw: bytes) -> list[bytes]:
    """An event's JSON in several lines, or a comment as it is."""
    if not raw.startswith(b"data: "):
        return []
    return json.dumps(json.loads(raw[6:]), indent=1).encode().splitlines()


@case("las", "a last chunk without choices, with null or an empty list")
async def last_chunk(bench: Bench) -> None:
    kind, running = bench.kind, range(1, len(PARTS) + 1) if bench.kind.running else None
    lasts: list[dict[str, Any]] = [{}, {"choices": None}, {"choices": []}]
    for last in lasts:
        end = event({"id": "x-1", "usage": kind.counts(20, None, len(PARTS) + 1)} | last)
        fine(await bench.ask(Reply([*kind.events(PARTS, running=running), end, DONE])))


@case("don", "[DONE] missing, or followed by more; no finish_reason; data after it")
async def done(bench: Bench) -> None:
    kind = bench.kind
    *whole, _ = kind.stream(PARTS).body
    fine(await bench.ask(Reply(whole)))
    more = event(kind.chunk("This is not part of it."))
    fine(await bench.ask(Reply([*whole, DONE, more, DONE], every=0.001)))
    fine(await bench.ask(Reply([*whole[:-1], whole[-1].rstrip(b"\n")])))
    unsaid = [event(kind.chunk(part)) for part in PARTS]
    fine(await bench.ask(Reply([*kind.head, *unsaid, DONE])))
    fine(await bench.ask(Reply([*whole, event(kind.chunk("", "stop")), event(kind.chunk("")), DONE])))


@case("jsn", "one JSON object in answer to a stream request")
async def one_json(bench: Bench) -> None:
    kind = bench.kind
    fine(await bench.ask(said(200, kind.whole(TEXT))))
    fine(await bench.ask(Reply([b"\n", json.dumps(kind.whole(TEXT), indent=2).encode()])))
    odd = await bench.ask(said(200, {"detail": "no such endpoint"}), retries=2)
    assert isinstance(odd.error, BadResponse)
    assert "no such endpoint" in str(odd.error)
    assert odd.asked == 1


@case("htm", "a web page, under 200 and under an error")
async def html(bench: Bench) -> None:
    page = b"<!DOCTYPE html><html><head><title>Log in</title></head></html>"
    for kind in ("text/html", "text/event-stream"):
        found = await bench.ask(Reply([page], 200, kind), retries=2)
        assert isinstance(found.error, BadResponse)
        assert f"{found.script.url}/" in str(found.error)
        assert "HTML page titled 'Log in'" in str(found.error)
        assert found.asked == 1
    found = await bench.ask(Reply([page], 502, "text/html"))
    assert isinstance(found.error, BackendUnavailable)
    assert f"an HTML page titled 'Log in' from {found.script.url}/" in str(found.error)


@case("200", "an error under a status of 200: as JSON, as an event, as `event: error`, in the middle")
async def error_under_200(bench: Bench) -> None:
    kind, words = bench.kind, "the engine is on fire"
    failed = kind.failed(words)
    begun = kind.events(PARTS)[:3]
    for reply in (
        said(200, failed),
        Reply([event(failed if isinstance(failed, dict) else failed[0]), DONE]),
        Reply([b"event: error\n" + event(failed if isinstance(failed, dict) else failed[0])]),
        Reply([b"event: error\ndata: " + words.encode() + b"\n\n"]),
        Reply([*begun, event({"error": {"message": words, "code": 500}}), DONE]),
        Reply([*begun, event(kind.chunk("", "error", error={"message": words, "code": "server_error"})), DONE]),
    ):
        found = await bench.ask(reply, retries=2)
        assert found.error is not None
        assert words in str(found.error)
        assert found.asked == 1


@case("liv", "nothing but comments, pings or empty chunks: ends at the timeout, before and after the first text")
async def keep_alive(bench: Bench) -> None:
    kind = bench.kind
    comment, ping, empty = b": keep-alive\n\n", b"event: ping\n\n", event(kind.chunk(""))
    begun = kind.events(PARTS)[:3]

    async def alone(*pieces: bytes) -> None:
        found = await bench.ask(Reply([*pieces[:-1], *pieces[-1:] * 1000], every=0.02), timeout=0.12)
        assert isinstance(found.error, BackendTimeout)
        assert 0.1 < found.seconds < 5  # not to the end of the script
        assert found.asked == 1

    await asyncio.gather(*(alone(*pieces) for pieces in ([comment], [ping], [empty], [*begun, comment])))
    fine(await bench.ask(Reply([*[comment] * 4, *kind.stream(PARTS).body], every=0.01), timeout=3))


# Counts ------------------------------------------------------------------------------------------------------------


@case("num", "counts as floats and strings")
async def numbers(bench: Bench) -> None:
    kind = bench.kind
    for form in (float, str, lambda n: f"{n}.0"):
        total = len(PARTS) + 2
        usage = kind.counts(form(20), form(4), form(total))
        running = [form(place + 1) for place in range(len(PARTS))] if kind.running else None
        found = await bench.ask(kind.stream(PARTS, usage=usage, running=running))
        fine(found)
        assert [(step.tokens, step.prompt_tokens, step.cached_tokens) for step in found.steps] == [(total, 20, 4)]


@case("end", "counts only at the end")
async def counts_at_the_end(bench: Bench) -> None:
    found = await bench.ask(bench.kind.stream(PARTS, running=None))
    fine(found)
    assert sum(step.tokens for step in found.steps) == len(PARTS) + 1


@case("nil", "no counts at all")
async def no_counts(bench: Bench) -> None:
    found = await bench.ask(bench.kind.stream(PARTS, running=None, usage=None))
    fine(found)
    assert sum(step.tokens for step in found.steps) > 3


@case("zer", "running counts of 0, the total at the end")
async def running_zero(bench: Bench) -> None:
    found = await bench.ask(bench.kind.stream(PARTS, running=[0] * len(PARTS)))
    fine(found)
    assert sum(step.tokens for step in found.steps) == len(PARTS) + 1


@case("cac", "cached prompt tokens only in the last chunk")
async def cached_last(bench: Bench) -> None:
    kind = bench.kind
    found = await bench.ask(kind.stream(PARTS, usage=kind.counts(20, 16, len(PARTS) + 1)))
    fine(found)
    assert sum(step.cached_tokens for step in found.steps) == 16


# Errors and ends ---------------------------------------------------------------------------------------------------


@case("ctx", "a text that does not fit, in the server's own words: one kind of error, at most two requests")
async def overflow(bench: Bench) -> None:
    found = await bench.ask(bench.kind.too_long(), retries=3)
    assert isinstance(found.error, InputTooLong)
    assert found.asked <= 2


@case(
    "flt", "a content filter ends the text, the server's own limit does not; a refused request is an error of its own"
)
async def content_filter(bench: Bench) -> None:
    kind = bench.kind
    found = await bench.ask(kind.stream(PARTS[:3], finish="content_filter"), retries=3)
    fine(found, "".join(PARTS[:3]))
    assert found.steps[-1].finish is Finish.CONTENT_FILTER
    if not kind.chat:
        await early_end(bench)
    if kind.filtered is not None:
        refused = await bench.ask(kind.filtered, retries=3)
        assert isinstance(refused.error, ContentFiltered)
        assert refused.asked == 1


async def early_end(bench: Bench) -> None:
    """Where a limit of the server's own ends an answer, another request goes on, but not for ever."""
    kind = bench.kind
    found = await bench.ask(kind.stream(PARTS, finish="length"), kind.stream([" That", " is", " all."]))
    assert (found.error, found.text, found.asked) == (None, f"{TEXT} That is all.", 2)
    assert found.script.requests[1]["prompt"].endswith(TEXT)
    assert found.steps[-1].finish is Finish.EOS
    stuck = await bench.ask(kind.stream([" on"], finish="length"))
    assert stuck.error is None and set(stuck.text.split()) == {"on"} and stuck.asked < 20
    assert stuck.steps[-1].finish is Finish.LENGTH


@case("ref", "a refusal in a field of its own", lambda kind: kind.chat)
async def refusal(bench: Bench) -> None:
    kind, words = bench.kind, ["I will not.", "\n\nAsk for something else."]
    chunks = [kind.chunk(None) for _ in words]
    for chunk, text in zip(chunks, words, strict=True):
        chunk["choices"][0]["delta"] = {"refusal": text}
    end = kind.chunk(None, "stop", usage=kind.counts(20, None, 9))
    found = await bench.ask(Reply([*kind.head, *map(event, chunks), event(end), DONE]))
    fine(found, "".join(words))
    assert [step.finish for step in found.steps] == [Finish.REFUSAL]


@case("429", "too many requests: Retry-After in seconds and as a date; tried again, then an error that says when")
async def rate_limit(bench: Bench) -> None:
    kind = bench.kind
    for wait in ("60", formatdate(time.time() + 60, usegmt=True)):
        found = await bench.ask(kind.failure(429, "Rate limit reached", retry_after=wait))
        assert isinstance(found.error, RateLimited)
        assert found.error.retry_after is not None
        assert 20 < found.error.retry_after <= 60
    again = await bench.ask(kind.failure(429, "slow down", retry_after="0"), kind.stream(PARTS), retries=1)
    assert (again.error, again.text, again.asked) == (None, TEXT, 2)


@case("quo", "an account without credit is asked once")
async def quota(bench: Bench) -> None:
    found = await bench.ask(bench.kind.quota, retries=3)
    assert isinstance(found.error, QuotaExhausted)
    assert found.asked == 1
