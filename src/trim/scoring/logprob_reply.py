"""The log-probabilities of a prompt in a server's reply, in the shapes that servers send.

    logprobs: {tokens, token_logprobs, top_logprobs}          OpenAI's `/completions`, vLLM, SGLang, llama-cpp-python
    logprobs: {content: [{token, bytes, logprob, ...}]}       llama-server, OpenAI's chat
    prompt_logprobs: [null, {id: {logprob, decoded_token}}]   vLLM's own

Their offsets are left aside; see `trim.scoring.token_alignment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trim.scoring.token_alignment import TokenText

_BY_ID = "token_id:"  # how vLLM writes a token that it was asked to name by its id


@dataclass(frozen=True, slots=True)
class ReplyToken:
    """A token of a reply.

    Args:
        shown: its text, as the server writes it.
        number: its id, where the server sends it.
        logprob: nats; None: the server gives none, as for the first token.
        top: those of the most likely tokens in its place.
    """

    shown: TokenText
    number: int | None
    logprob: float | None
    top: tuple[float, ...] = ()


def read_tokens(answer: Mapping[str, Any]) -> list[ReplyToken]:
    """The tokens of a reply to a request with `echo` and `logprobs`, those that the model wrote at the end included.

    Raises:
        KeyError, IndexError, TypeError, ValueError, AttributeError: it has none.
    """
    choice = answer["choices"][0]
    found = choice.get("logprobs")
    if found is not None and found.get("content") is not None:
        return [_described(entry) for entry in found["content"]]
    if found is not None and found.get("tokens") is not None:
        return _listed(found)
    prompt = choice.get("prompt_logprobs")
    return [_alternatives(entry) for entry in (answer["prompt_logprobs"] if prompt is None else prompt)]


def _listed(found: Mapping[str, Any]) -> list[ReplyToken]:
    """From lists of equal length."""
    texts, values = found["tokens"], found["token_logprobs"]
    tops = found.get("top_logprobs") or [None] * len(texts)
    ids = found.get("token_ids") or [None] * len(texts)
    return [
        ReplyToken(TokenText(str(text)), _number(text, number), _logprob(value), _top((likeliest or {}).values()))
        for text, value, likeliest, number in zip(texts, values, tops, ids, strict=True)
    ]


def _described(entry: Mapping[str, Any]) -> ReplyToken:
    """From an object for each token."""
    data = entry.get("bytes")
    shown = TokenText(str(entry["token"]), bytes(data) if data else None)
    likeliest = [other["logprob"] for other in entry.get("top_logprobs") or ()]
    number = _number(entry["token"], entry.get("id", entry.get("token_id")))
    return ReplyToken(shown, number, _logprob(entry.get("logprob")), _top(likeliest))


def _alternatives(entry: Mapping[str, Mapping[str, Any]] | None) -> ReplyToken:
    """From the tokens that might stand in a place, by id; that of the prompt comes first. None: the first place."""
    if entry is None:
        return ReplyToken(TokenText(None), None, None)
    number, token = next(iter(entry.items()))
    text = token.get("decoded_token")
    top = _top(other["logprob"] for other in entry.values())
    return ReplyToken(TokenText(None if text is None else str(text)), int(number), _logprob(token["logprob"]), top)


def _number(text: object, number: object) -> int | None:
    if isinstance(text, str) and text.startswith(_BY_ID):
        return int(text.removeprefix(_BY_ID))
    return number if isinstance(number, int) else None


def _logprob(value: object) -> float | None:
    """A natural log-probability; a little above 0 is rounding.

    Raises:
        ValueError: it is not one.
    """
    if value is None:
        return None
    logprob = float(value) if isinstance(value, int | float) else float(str(value))
    if not logprob <= 0.01:  # nan too
        raise ValueError(f"{logprob} is no log-probability")
    return min(logprob, 0.0)


def _top(values: Any) -> tuple[float, ...]:
    return tuple(found for value in values if (found := _logprob(value)) is not None)
