"""What servers say about the tokens of an answer, and estimates where they say nothing.

Counts from a server are input like any other. What cannot be a count (NaN, a negative number, a list) is dropped, what
contradicts another count is clipped; both are logged once for a server, and the caller marks what it estimates instead.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from typing import Final, Protocol

from trim.off_loop import LARGE
from trim.types import Scores, Step

logger = logging.getLogger("trim.backends")

MOST: Final = 10_000_000
"""Tokens that one request can have at most; the longest context of a model that is served today."""

_NUMBER = re.compile(r"\s*[+-]?\d{1,18}(\.\d{0,18})?([eE][+-]?\d{1,2})?\s*", re.ASCII)
_BYTES = 4.0  # of a token, until a server's own totals say more
_EVIDENCE = 64  # tokens of such totals that are enough to go by
_KNOWN = 8  # large texts whose tokens are remembered
_PLENTY = 8  # characters of a token: no ordinary text has so many
_MERGED = 16  # tokens that may be one where a text that is cut goes on
_LOGGED: set[str] = set()  # servers whose wrong counts were logged

# Where the counts stand: vLLM, OpenAI (chat, then Responses), Anthropic, DeepSeek, Moonshot, llama-server, Ollama.
_USAGE = (("usage",), ("x_groq", "usage"), ("choices", "usage"), ("message", "usage"))
_PROMPT = (("prompt_tokens",), ("input_tokens",), ("prompt_eval_count",))
_COMPLETION = (("completion_tokens",), ("output_tokens",), ("timings", "predicted_n"), ("eval_count",))
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),
    ("cache_read_input_tokens",),
    ("cached_tokens",),
    ("timings", "cache_n"),
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),
)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Counts of one request so far, as its server gives them; None: not said.

    `cached` are some of `prompt`, `reasoning` some of `completion`. `wrong` says which of these fields the server gave
    in a form that cannot be right, and what it said.
    """

    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    wrong: Mapping[str, str] = field(default_factory=dict)


_NONE: Final = TokenCounts()


def read_counts(response: object) -> TokenCounts:
    """The counts of a chunk or of a whole answer, whatever its server calls them. Never raises."""
    usage = next((found for path in _USAGE if (found := _at(response, path)) is not None), None)
    timings = _at(response, ("timings",))
    if usage is None and timings is None:
        return _NONE
    if usage is not None and not isinstance(usage, dict):
        return TokenCounts(wrong={"completion": f"usage: {_shown(usage)}", "prompt": f"usage: {_shown(usage)}"})
    said = _Said((usage or {}) if timings is None else {**(usage or {}), "timings": timings})
    prompt, cached = said.count("prompt", _PROMPT), said.count("cached", _CACHED)
    prompt, cached = said.whole_prompt(prompt, cached)
    if cached is not None and prompt is not None and cached > prompt:
        said.wrong["cached"] = f"{cached} cached tokens of {prompt} prompt tokens"
        cached = prompt
    completion, reasoning = said.completion()
    return TokenCounts(prompt, cached, completion, reasoning, said.wrong)


class _Said:
    """A usage object and llama-server's `timings`, with what was wrong in them."""

    def __init__(self, values: dict[str, object]) -> None:
        self.wrong: dict[str, str] = {}
        self._values = values

    def count(self, name: str, paths: tuple[tuple[str, ...], ...]) -> int | None:
        """The first of these that is a count."""
        for path in paths:
            if path[0] not in self._values or (value := _at(self._values, path)) is None:
                continue
            if (count := as_count(value)) is not None:
                self.wrong.pop(name, None)
                return count
            self.wrong.setdefault(name, f"{'.'.join(path)}: {_shown(value)}")
        return None

    def whole_prompt(self, prompt: int | None, cached: int | None) -> tuple[int | None, int | None]:
        """Prompt and cached tokens, where the server counts the cached ones apart."""
        values = self._values
        if prompt is not None and "prompt_tokens" not in values and "input_tokens" in values:  # Anthropic
            apart = (as_count(values.get(f"cache_{kind}_input_tokens")) for kind in ("read", "creation"))
            return min(MOST, prompt + sum(filter(None, apart))), cached
        fresh = as_count(_at(values, ("timings", "prompt_n")))
        if fresh is None:
            return prompt, cached
        if prompt is None:
            return min(MOST, fresh + (cached or 0)), cached
        return prompt, prompt - fresh if cached is None and fresh <= prompt else cached

    def completion(self) -> tuple[int | None, int | None]:
        """Completion tokens with those of reasoning, and the latter: xAI counts them apart, Gemini in the total."""
        completion, reasoning = self.count("completion", _COMPLETION), self.count("reasoning", _REASONING)
        if completion is None:
            return completion, reasoning
        prompt, total = (as_count(self._values.get(name)) for name in ("prompt_tokens", "total_tokens"))
        apart = 0 if prompt is None or total is None else max(0, total - prompt - completion)
        if not reasoning:
            return (min(MOST, completion + apart), apart) if apart else (completion, reasoning)
        if apart == reasoning:
            completion += reasoning
        return completion, min(reasoning, completion)


def as_count(value: object) -> int | None:
    """A number of tokens from a JSON value: 12, 12.0 or "12"; None if it is none, or absurd."""
    if type(value) is int:
        return value if 0 <= value <= MOST else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not isfinite(value):
        return None
    return round(value) if 0 <= value <= MOST else None


def sound(step: Step) -> Step:
    """The same step if its counts are counts; else with 0 for what is none, and marked as estimated."""
    said = (step.prompt_tokens, step.cached_tokens, step.tokens)
    if all(type(count) is int and 0 <= count <= MOST for count in said) and step.cached_tokens <= step.prompt_tokens:
        return step
    prompt, cached, tokens = (as_count(count) or 0 for count in said)
    return replace(step, prompt_tokens=prompt, cached_tokens=min(cached, prompt), tokens=tokens, estimated=True)


def read_up_to(scores: Scores) -> tuple[int, ...]:
    """For each step what a first call that ends with it reads: as the judge says, or even shares of its `tokens`."""
    count, given = len(scores.values), [as_count(value) for value in scores.up_to]
    if len(given) == count and None not in given:
        return tuple(value or 0 for value in given)
    total = as_count(scores.tokens) or 0
    return tuple(total * (index + 1) // count for index in range(count))


def log_wrong(server: str, counts: TokenCounts) -> None:
    """Say once for a server that its counts cannot be right."""
    if counts.wrong and server not in _LOGGED:
        _LOGGED.add(server)
        words = "; ".join(dict.fromkeys(counts.wrong.values()))
        logger.warning("%s: token counts that cannot be right (%s); estimates are used instead", server, words)


class Tokenizer(Protocol):
    """Counts the tokens of a text, as `trim.backends.token_counter.TokenCounter` does."""

    def count(self, text: str) -> int: ...


class TextCounter:
    """Estimates the tokens of a text, for one model.

    Args:
        tokenizer: the model's own. Without it the estimate goes by the bytes that a token had in the totals that the
            server has given, and by 4 before it has given any.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer
        self._large: dict[str, int] = {}  # tokens of the last large texts: a prompt is counted more than once
        self._bytes = 0
        self._tokens = 0

    def count(self, text: str) -> int:
        """Tokens of a text; at least 1 unless it is empty."""
        if not text:
            return 0
        if self._tokenizer is not None:
            return self._tokenized(text, self._tokenizer)
        each = self._bytes / self._tokens if self._tokens >= _EVIDENCE else _BYTES
        return ceil(size(text) / min(max(each, 1.0), 16.0))

    def far_exceeds(self, text: str, tokens: int) -> bool:
        """Whether a part of a large text has more tokens than so many already: then the rest need not be counted."""
        begin = text[: max(LARGE, tokens * _PLENTY)]
        return len(begin) < len(text) and self.count(begin) > tokens + _MERGED

    def _tokenized(self, text: str, tokenizer: Tokenizer) -> int:
        if (known := self._large.get(text)) is not None:
            return known
        count = max(1, tokenizer.count(text.encode("utf-8", "replace").decode()))
        if len(text) >= LARGE:
            while len(self._large) >= _KNOWN:
                self._large.pop(next(iter(self._large)), None)
            self._large[text] = count
        return count

    def learn(self, size: int, tokens: int) -> None:
        """A whole answer of `size` bytes had so many tokens, as its server says."""
        self._bytes += size
        self._tokens += tokens


def size(text: str) -> int:
    """Bytes of a text in UTF-8, half characters included."""
    return len(text.encode("utf-8", "surrogatepass"))


def _at(value: object, path: tuple[str, ...]) -> object:
    """What stands there; None: nothing. Of a list the first entry counts."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
        if isinstance(value, list) and name == "choices":
            value = value[0] if value else None
    return value


def _shown(value: object) -> str:
    try:
        return f"{value!r:.40}"
    except ValueError:  # an integer with thousands of digits
        return "a number of thousands of digits"
