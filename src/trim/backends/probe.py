"""Tries models and judges, and says what they do: `trim config check --probe` and `trim init`.

Each is given a real question, and what it answers is checked: what routing cannot do without (text, an end that is
told, a continuation that goes on, a score for each step, a right step above a wrong one) is a problem with its remedy;
what else was seen stands in the `Probe`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from math import ceil
from typing import Protocol

from trim.backends.answer_counts import AnswerTotals
from trim.backends.capabilities import Capabilities, Continuation
from trim.backends.client import Server
from trim.backends.prefix_repetition import Asked, Head, PrefixRepetition
from trim.backends.server_errors import LONGER_CONTEXT
from trim.backends.step_assembly import Chunk
from trim.backends.token_counts import size
from trim.errors import BackendError
from trim.prompts import ChatTemplate
from trim.protocols import Judge, Probe, StepGenerator
from trim.steps import StepFormat
from trim.types import Question, StepOptions

PROBED = Question(
    "Tom has 3 apples and buys 4 more. He gives 2 to his sister. How many apples has he left? Explain step by step."
)
_BEGUN = "Tom has 3 apples and buys 4 more, so he has 3 + 4 ="
_TOKENS = 64  # of each trial
_LEAST_CONTEXT = 256  # tokens, in which a question and a short solution fit
_SMALL_CONTEXT = 2048
_SAME = 0.85  # likeness from which a text is the same one once more
_JUDGED = Question("Tom has 3 apples and buys 4 more. How many apples does he have?")
_RIGHT = "Tom has 3 + 4 = 7 apples."
_WRONG = "Tom has 3 + 4 = 12 apples."
_PATIENCE = 120.0  # seconds for a judge's answers


class Probed(Asked, Protocol):
    """What a trial needs of a generator behind a server, such as `OpenAIGenerator`."""

    server: Server
    form: StepFormat
    able: Capabilities
    repetition: PrefixRepetition

    @property
    def continuation(self) -> Continuation: ...

    @property
    def template(self) -> ChatTemplate | None: ...


@dataclass
class _Heard:
    """A short answer: what came, and when."""

    prefix: str
    started: float
    first: float = 0.0
    last: float = 0.0
    chunks: list[Chunk] = field(default_factory=list)

    def add(self, chunk: Chunk) -> None:
        self.last = time.perf_counter()
        if not self.first and (chunk.text or chunk.reasoning):
            self.first = self.last
        self.chunks.append(chunk)

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def said(self) -> str:
        """With what it thought before."""
        return "".join(chunk.reasoning + chunk.text + chunk.refusal for chunk in self.chunks)

    @property
    def end(self) -> Chunk:
        return next((chunk for chunk in self.chunks if chunk.finish is not None), Chunk())

    @property
    def counted(self) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.counts.completion]  # some say 0 until the end

    @property
    def totals(self) -> AnswerTotals:
        if not self.counted:
            return AnswerTotals(0, 0, ceil(size(self.said) / 4), estimated=True)
        counts = self.counted[-1].counts
        return AnswerTotals(counts.prompt or 0, counts.cached or 0, counts.completion or 0)

    @property
    def pieces(self) -> int:
        return sum(bool(chunk.text or chunk.reasoning) for chunk in self.chunks)

    @property
    def rate(self) -> float | None:
        """Tokens a second once the first had come."""
        seconds, tokens = self.last - self.first, self.totals.completion
        return (tokens - 1) / seconds if self.pieces > 1 and tokens > 1 and seconds > 0 else None


async def try_generator(model: Probed, probe: Probe) -> Probe:
    """What this generator's server does, from its list of models (in `probe`) and three or four short answers. Never
    raises a `BackendError`: what failed is in `Probe.problem`.
    """
    unlisted = _unlisted(model, probe)
    probe = replace(probe, template=_template(model))
    try:
        whole = await _answer(model, "")
        probe = _with_answer(probe, whole)
        if model.form.stop is not None and model.continuation == "completions":
            probe = _with_stop(probe, await _answer(model, "", stop=True), model.form.stop)
        if model.continuation == "chat":
            probe = replace(probe, repeats_prefix=await model.repetition.known(model))
        rest = await _answer(model, _beginning(whole.text, model.form))
        probe = replace(probe, cached=probe.cached or _says_cached(rest), first_text=rest.first - rest.started)
        probe = replace(probe, continuation=_goes_on(rest, repeats=bool(probe.repeats_prefix)))
    except BackendError as error:
        return replace(probe, problem=unlisted or str(error))
    problem = unlisted or _missing(model, probe, whole, rest)
    return replace(probe, problem=problem, notes=(*probe.notes, *_notes(model, probe)))


async def try_steps(model: StepGenerator, probe: Probe) -> Probe:
    """The same for a model in this process, through the steps that it writes."""
    if probe.problem is not None or probe.streaming is not None:
        return probe
    try:
        started = time.perf_counter()
        text, tokens, first = await _steps(model, ())
        seconds = time.perf_counter() - started
        rest, _, _ = await _steps(model, text[:1])
    except BackendError as error:
        return replace(probe, problem=str(error))
    probe = replace(probe, usage=tokens > 0, running_usage=tokens > 0, continuation=rest != text or len(text) == 1)
    probe = replace(probe, first_text=first - started, tokens_per_second=tokens / seconds if seconds else None)
    if not "".join(text).strip():
        return replace(probe, problem=f"{model.identity}: it wrote no text")
    if not probe.continuation:
        return replace(probe, problem=f"{model.identity}: it writes its answer once more instead of going on")
    return probe


async def _steps(model: StepGenerator, kept: tuple[str, ...]) -> tuple[tuple[str, ...], int, float]:
    """Two steps at most: their texts, their tokens, and when the first one was there."""
    stream = model.steps(PROBED, kept, StepOptions(limit=2, max_tokens=4 * _TOKENS))
    texts, tokens, first = [], 0, 0.0
    try:
        async for step in stream:
            first = first or time.perf_counter()
            texts.append(step.text)
            tokens += step.tokens
    finally:
        await stream.aclose()
    return tuple(texts), tokens, first or time.perf_counter()


async def try_judge(judge: Judge, probe: Probe) -> Probe:
    """Whether a judge scores a step that is plainly right above one that is plainly wrong."""
    if probe.problem is not None:
        return probe
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_PATIENCE):
            right = await judge.score(_JUDGED, (_RIGHT,))
            seconds = time.perf_counter() - started
            wrong = await judge.score(_JUDGED, (_WRONG,))
    except TimeoutError:
        return replace(probe, problem=f"{judge.identity}: no score within {_PATIENCE:g} s")
    except BackendError as error:
        return replace(probe, problem=str(error))
    if len(right.values) != 1 or len(wrong.values) != 1:
        return replace(probe, problem=f"{judge.identity}: it does not give one score for each step")
    order = right.values[0], wrong.values[0]
    probe = replace(probe, order=order, first_text=seconds)
    if order[0] > order[1]:
        return probe
    words = "no higher than" if order[0] == order[1] else "below"
    return replace(
        probe,
        problem=f"{judge.identity}: it scores a right step ({order[0]:.2f}) {words} a wrong one ({order[1]:.2f}), so "
        "its scores say nothing: take another judge (docs/how-to/your-judge.md)",
    )


async def _answer(model: Probed, prefix: str, *, stop: bool = False) -> _Heard:
    """A short answer, with the likeliest tokens where that can be asked for."""
    body = model.body(PROBED, prefix, max_tokens=_TOKENS, stop=stop, seed=0)
    if "temperature" in body:
        body["temperature"] = 0.0
    if model.able.logprobs:
        body.setdefault("logprobs", 1 if "prompt" in body else True)
    heard = _Heard(prefix, time.perf_counter())
    answer = await model.send(body)
    try:
        while (chunk := await answer.next()) is not None:
            heard.add(chunk)
    finally:
        await answer.close()
        heard.totals.add_to(model.usage)
    return heard


def _with_answer(probe: Probe, whole: _Heard) -> Probe:
    """What an answer without a beginning shows."""
    return replace(
        probe,
        streaming=whole.pieces > 1,
        usage=bool(whole.counted),
        running_usage=any((chunk.text or chunk.reasoning) and chunk.finish is None for chunk in whole.counted),
        cached=_says_cached(whole),
        end_told=whole.end.finish is not None,
        logprobs=any(chunk.logprobs for chunk in whole.chunks),
        tokens_per_second=whole.rate,
    )


def _says_cached(heard: _Heard) -> bool:
    return any(chunk.counts.cached is not None for chunk in heard.chunks)


def _with_stop(probe: Probe, heard: _Heard, stop: str) -> Probe:
    """Whether the text ended at the stop string; unknown where the model did not write one within the limit."""
    passed = stop in heard.text.strip()
    told = heard.end.told or heard.text.endswith(stop)
    return replace(probe, stop=None if heard.end.finish == "length" and not passed else not passed, stop_told=told)


def _beginning(answer: str, form: StepFormat) -> str:
    """The first half of an answer as the text to go on with, whole steps where it has some."""
    half = answer[: len(answer) // 2 + 1]
    cut = half.rfind(form.joiner)
    begun = half[: cut + len(form.joiner)] if cut > 0 else half.rpartition(" ")[0]
    return begun if len(_plain(begun)) >= 12 else _BEGUN


def _goes_on(rest: _Heard, *, repeats: bool) -> bool:
    """Whether a text goes on from its beginning: not with that beginning, which a new turn would write again."""
    head = Head(rest.prefix, repeats=repeats)
    added = _plain(head.feed(rest.text) + head.rest())
    begun = _plain(rest.prefix)[:100]
    likeness = SequenceMatcher(None, begun, added[: len(begun)], autojunk=False).ratio()
    return bool(rest.said.strip()) and likeness < _SAME


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _template(model: Probed) -> str:
    if model.continuation == "completions" and model.template is not None:
        return model.template.origin or "rendered here"
    return "the server's own"


def _unlisted(model: Probed, probe: Probe) -> str | None:
    """What to say of a model that its server does not list. Servers of a single model take any name."""
    if probe.models is None or model.server.model in probe.models or model.able.any_model:
        return None
    known = ", ".join(probe.models) or "none"
    return f"{model.server.name}: the server has no such model; it has {known}: set model to one of these"


def _missing(model: Probed, probe: Probe, whole: _Heard, rest: _Heard) -> str | None:
    """The first thing that routing needs and that was not seen, with what to do."""
    name = model.server.name
    if not whole.said.strip():
        return f"{name}: it answered without any text: is {model.server.model} a chat model, and is base_url its own?"
    if not probe.end_told or rest.end.finish is None:
        return (
            f"{name}: its answers end without a finish_reason, so that an end looks like a broken connection: update "
            "the server, or the proxy before it"
        )
    if not rest.said.strip():
        return f"{name}: it wrote nothing when it was to continue a partial answer: {_remedy(model)}"
    if not probe.continuation:
        return f"{name}: it begins its answer again instead of continuing it: {_remedy(model)}"
    if probe.context is not None and probe.context < _LEAST_CONTEXT:
        return f"{name}: its context of {probe.context} tokens is too small: {LONGER_CONTEXT}"
    return None


def _remedy(model: Probed) -> str:
    """Another way to have a text continued."""
    if model.continuation == "completions":
        return 'set template to the model\'s own (its folder, .gguf or .jinja file), or continuation = "chat"'
    if model.continuation == "chat" and model.able.completions:
        return 'set continuation = "completions"'
    if model.continuation == "chat":
        return 'set continuation = "instruct"'
    return "it does not follow the instruction to continue: take a larger model, or one behind /completions"


def _notes(model: Probed, probe: Probe) -> tuple[str, ...]:
    """What is worth knowing and no problem."""
    notes = [f"it {words}" for words in model.server.learnt]
    if not probe.usage:
        notes.append("it counts no tokens: they are estimated and marked with ~")
    if probe.models and not any(model.server.model in name for name in probe.models):
        notes.append(f"it takes any name for its model, {', '.join(probe.models)}")
    if probe.context is not None and _LEAST_CONTEXT <= probe.context < _SMALL_CONTEXT:
        notes.append(f"a context of {probe.context} tokens is little: {LONGER_CONTEXT}")
    return tuple(notes)


def describe(probe: Probe) -> str:
    """One line on what was found, or the problem."""
    if probe.problem is not None:
        return probe.problem
    names = {
        "continues a partial answer": probe.continuation,
        "streaming": probe.streaming,
        "stop strings": probe.stop,
        "stop told from end": probe.stop_told,
        "repeats the partial answer": probe.repeats_prefix,
        "log-probabilities": probe.logprobs,
        "prefix cache counted": probe.cached,
        "scores per step": probe.pooling,
        "prompt log-probabilities": probe.prompt_logprobs,
    }
    words = [f"{name}: {'yes' if value else 'no'}" for name, value in names.items() if value is not None]
    if probe.usage is not None:
        words.insert(1, f"token counts: {counting(probe)}")
    if probe.order is not None:
        words.append("a right step {:.2f}, a wrong one {:.2f}".format(*probe.order))
    if probe.template:
        words.append(f"template: {probe.template}")
    if probe.context is not None:
        words.append(f"context: {probe.context}")
    return "; ".join(filter(None, (probe.server, ", ".join(words), _speed(probe), *probe.notes)))


def counting(probe: Probe) -> str:
    """How its tokens are counted: running, total or estimated."""
    return "running" if probe.running_usage else "total" if probe.usage else "estimated"


def _speed(probe: Probe) -> str:
    words: Sequence[str] = (
        "" if probe.first_text is None else f"first answer after {probe.first_text:.2f} s",
        "" if probe.tokens_per_second is None else f"{probe.tokens_per_second:.0f} tokens/s",
    )
    return ", ".join(filter(None, words))
