"""Tries servers and says what they do, for `trim config check --probe` and readiness checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from trim.backends.capabilities import Continuation
from trim.backends.client import Server
from trim.backends.prefix_repetition import Asked, PrefixRepetition
from trim.backends.step_assembly import Chunk
from trim.errors import BackendError
from trim.protocols import Probe
from trim.steps import StepFormat
from trim.types import Question

_QUESTION = Question("Tom has 3 apples and buys 4 more. How many apples does he have?")
_BEGUN = "Tom has 3 apples and buys 4 more."
_TOKENS = 48  # of each trial


class Probed(Asked, Protocol):
    """What a trial needs of a generator behind a server, such as `OpenAIGenerator`."""

    server: Server
    form: StepFormat
    repetition: PrefixRepetition

    @property
    def continuation(self) -> Continuation: ...


async def try_generator(model: Probed, probe: Probe) -> Probe:
    """What this generator's server does, from its list of models (in `probe`) and two or three short answers. Never
    raises a `BackendError`: what failed is in `Probe.problem`.
    """
    if probe.models is not None and model.server.model not in probe.models:
        known = ", ".join(probe.models) or "none"
        probe = replace(probe, problem=f"{model.server.name}: the server has no such model; it has {known}")
    try:
        chunks = await _answer(model, "", stop=False)
        counts = [chunk for chunk in chunks if chunk.counts.completion]  # some say 0 until the end
        probe = replace(
            probe,
            streaming=sum(bool(chunk.text) for chunk in chunks) > 1,
            usage=bool(counts),
            running_usage=any(chunk.text and chunk.finish is None for chunk in counts),
        )
        if model.form.stop is not None and model.continuation == "completions":
            probe = _with_stop(probe, await _answer(model, "", stop=True), model.form.stop)
        if model.continuation == "chat":
            probe = replace(probe, repeats_prefix=await model.repetition.known(model))
        chunks = await _answer(model, _BEGUN + model.form.joiner, stop=False)
        return replace(probe, continuation=any(chunk.text for chunk in chunks))
    except BackendError as error:
        return replace(probe, problem=probe.problem or str(error))


async def _answer(model: Probed, prefix: str, *, stop: bool) -> list[Chunk]:
    """All chunks of a short answer."""
    answer = await model.send(model.body(_QUESTION, prefix, max_tokens=_TOKENS, stop=stop, seed=0))
    chunks: list[Chunk] = []
    try:
        while (chunk := await answer.next()) is not None:
            chunks.append(chunk)
    finally:
        await answer.close()
    return chunks


def _with_stop(probe: Probe, chunks: list[Chunk], stop: str) -> Probe:
    """Whether the text ended at the stop string; unknown where the model did not write one within the limit."""
    text = "".join(chunk.text for chunk in chunks)
    end = next((chunk for chunk in chunks if chunk.finish is not None), Chunk())
    passed = stop in text.strip()
    told = end.told or text.endswith(stop)
    return replace(probe, stop=None if end.finish == "length" and not passed else not passed, stop_told=told)


def describe(probe: Probe) -> str:
    """One line on what was found, or the problem."""
    if probe.problem is not None:
        return probe.problem
    names = {
        "streaming": probe.streaming,
        "stop strings": probe.stop,
        "stop told from end": probe.stop_told,
        "token counts": probe.usage,
        "token counts in every chunk": probe.running_usage,
        "continuation": probe.continuation,
        "repeats the partial answer": probe.repeats_prefix,
        "scores per step": probe.pooling,
        "prompt log-probabilities": probe.prompt_logprobs,
    }
    words = [f"{name}: {'yes' if value else 'no'}" for name, value in names.items() if value is not None]
    if probe.context is not None:
        words.append(f"context: {probe.context}")
    return "; ".join(filter(None, (probe.server, ", ".join(words))))
