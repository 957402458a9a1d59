"""Tries a generator's server and says what it does, for `trim config check --probe`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trim.backends.client import Probe
from trim.backends.step_assembly import Chunk
from trim.errors import BackendError
from trim.types import Question

if TYPE_CHECKING:
    from trim.backends.openai import OpenAIGenerator

_QUESTION = Question("Tom has 3 apples and buys 4 more. How many apples does he have?")
_BEGUN = "Tom has 3 apples and buys 4 more."
_TOKENS = 48  # of each trial


async def probe_generator(model: OpenAIGenerator) -> Probe:
    """What this generator's server does, from its list of models and two or three short answers. Never raises a
    `BackendError`: what failed is in `Probe.problem`.
    """
    probe = Probe(model.server.name)
    try:
        names, context = await model.server.models()
        probe = replace(probe, reachable=True, models=names, context=context)
        if model.server.model not in names:
            known = ", ".join(names) or "none"
            probe = replace(probe, problem=f"{model.server.name}: the server has no such model; it has {known}")
    except BackendError as error:
        if error.retryable:  # not there; a 404 is only a server without a list
            return replace(probe, problem=str(error))
        probe = replace(probe, reachable=True)
    try:
        chunks = await _answer(model, "", stop=False)
        counts = [chunk for chunk in chunks if chunk.completion_tokens is not None]
        probe = replace(
            probe,
            streaming=sum(bool(chunk.text) for chunk in chunks) > 1,
            usage=bool(counts),
            running_usage=any(chunk.text and chunk.finish is None for chunk in counts),
        )
        if model.form.stop is not None and model.continuation == "completions":
            probe = _with_stop(probe, await _answer(model, "", stop=True), model.form.stop)
        chunks = await _answer(model, model.form.prefix((_BEGUN,)), stop=False)
        return replace(probe, continuation=any(chunk.text for chunk in chunks))
    except BackendError as error:
        return replace(probe, problem=probe.problem or str(error))


async def _answer(model: OpenAIGenerator, prefix: str, *, stop: bool) -> list[Chunk]:
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


async def probe(backend: Any) -> tuple[bool, str]:
    """Whether a generator or process reward model can be used, and one line on what was found."""
    if not hasattr(backend, "probe"):  # runs in this process: it was loaded, so it is there
        return True, type(backend).__name__
    found: Probe = await backend.probe()
    if found.problem is not None:
        return False, found.problem
    names = {
        "streaming": found.streaming,
        "stop strings": found.stop,
        "stop told from end": found.stop_told,
        "token counts": found.usage,
        "token counts in every chunk": found.running_usage,
        "continuation": found.continuation,
        "scores per step": found.pooling,
        "prompt log-probabilities": found.prompt_logprobs,
    }
    words = [f"{name}: {'yes' if value else 'no'}" for name, value in names.items() if value is not None]
    if found.context is not None:
        words.append(f"context: {found.context}")
    return True, f"{found.server}; " + ", ".join(words)
