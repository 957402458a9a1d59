"""What servers tell of how likely a token was, and of the likeliest tokens in its place, whichever fields they fill in.

Completions of vLLM and SGLang have `token_logprobs` and `top_logprobs`, from text to log-probability; chats, and
llama-server everywhere, have `content` with an entry for each token. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, fsum, isnan, log
from typing import Any

TOP = 5
"""Likeliest tokens that are asked for where their entropy is needed: all that services tell of a text completion."""

_UNCERTAIN = 1.0  # nats
_IMPOSSIBLE = -100.0  # log-probability of a token that servers call impossible, in numbers of their own


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely a token was under the model's own distribution.

    Args:
        logprob: natural.
        entropy: of that distribution (nats), as far as the `TOP` likeliest tokens tell: all others count as one. None:
            the server did not tell so many.
    """

    logprob: float
    entropy: float | None = None


@dataclass(frozen=True, slots=True)
class StepLogprobs:
    """The same of all tokens of a step; see `trim.types.Step`."""

    mean: float | None = None
    least: float | None = None
    mean_entropy: float | None = None
    most_entropy: float | None = None
    uncertain: float | None = None


def read_logprobs(choice: dict[str, Any]) -> tuple[TokenLogprob, ...] | None:
    """The tokens of a choice; None: nothing is told of them."""
    found = choice.get("logprobs")
    if found is None:
        return None
    if content := found.get("content"):
        pairs = [(entry.get("logprob"), _values(entry.get("top_logprobs"))) for entry in content]
    else:
        values: Sequence[object] = found.get("token_logprobs") or ()
        tops: Sequence[object] = found.get("top_logprobs") or ()
        tops = tops if len(tops) == len(values) else [None] * len(values)
        pairs = [(value, _values(top)) for value, top in zip(values, tops, strict=True)]
    return tuple(
        TokenLogprob(_clipped(value), top_entropy(top))
        for value, top in pairs
        if isinstance(value, int | float) and not isnan(value)
    )


def top_entropy(logprobs: Iterable[float]) -> float | None:
    """Entropy (nats) by the `TOP` largest of these; None: they are fewer."""
    known = sorted(logprobs, reverse=True)[:TOP]
    return known_entropy(known) if len(known) == TOP else None


def known_entropy(logprobs: Sequence[float]) -> float:
    """Entropy (nats) of a distribution whose likeliest outcomes are known; all others count as one: a lower bound."""
    chances = [exp(logprob) for logprob in logprobs]
    chances.append(max(0.0, 1.0 - fsum(chances)))
    return -fsum(chance * log(chance) for chance in chances if chance > 0)


def of_step(tokens: Sequence[TokenLogprob]) -> StepLogprobs:
    """The figures of a step's tokens. Its entropies are known if they are of at least half of them: servers that name
    tokens by their texts give fewer where two of the likeliest look the same.
    """
    if not tokens:
        return StepLogprobs()
    logprobs = [token.logprob for token in tokens]
    mean, least = fsum(logprobs) / len(logprobs), min(logprobs)
    known = [token.entropy for token in tokens if token.entropy is not None]
    if 2 * len(known) < len(tokens):
        return StepLogprobs(mean, least)
    uncertain = sum(entropy > _UNCERTAIN for entropy in known) / len(known)
    return StepLogprobs(mean, least, fsum(known) / len(known), max(known), uncertain)


def _values(told: object) -> list[float]:
    """The log-probabilities of a list of entries, or of a table by text."""
    if isinstance(told, dict):
        found: list[object] = list(told.values())
    elif isinstance(told, list):
        found = [entry.get("logprob") for entry in told if isinstance(entry, dict)]
    else:
        found = []
    return [_clipped(value) for value in found if isinstance(value, int | float) and not isnan(value)]


def _clipped(value: float) -> float:
    return min(0.0, max(_IMPOSSIBLE, value))
