"""What servers say when something is wrong, as errors of `trim.errors`.

Servers agree on neither statuses nor words: one cause has a dozen wordings, and one status many causes. So the words
decide where they are known (`tests/backends/test_server_errors.py` has them with their sources), the status where not.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from trim.backends.response_json import parsed
from trim.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ContentFiltered,
    InputTooLong,
    OutputTooLong,
    QuotaExhausted,
    RateLimited,
)
from trim.redaction import redacted

_LONGEST = 300  # characters of a server's message in ours
LONGER_CONTEXT = (
    "serve the model with a longer context (llama-server --ctx-size, vLLM --max-model-len, SGLang --context-length, "
    "OLLAMA_CONTEXT_LENGTH, of a GGUF file the key context), or ask for less"
)
"""What to do where a text does not fit."""


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


_QUOTA = _any(
    r"insufficient[_ ]+(quota|balance|credits?|funds)",
    r"billing_(hard_limit|not_active)",
    r"credit balance is too low",
    r"payment required",
    r"(monthly )?spending limit",
    r"(out of|requires more|used all (the )?available) credits",
)
_CURRENT_QUOTA = _any(r"exceeded your current quota")  # of the account; Gemini's also of the minute
_RATE = _any(
    r"rate[_ -]?limit",
    r"too many requests",
    r"(tokens|requests) per (minute|min|hour|day|second)",
    r"\b[RT]P[MD]\b",
    r"throttl",
    r"resource_exhausted",
)
_FILTER = _any(
    r"content[_ -]?filter",
    r"content management policy",
    r"content[_ ]policy",
    r"responsible ?ai ?policy",
    r"rejected as a result of our safety system",
    r"prohibited_content",
    r"requires moderation",
    r"data_inspection_failed",
    r"guardrail",
)
_OVERFLOW = _any(
    r"context[_ -]*(length|size|window|limit|overflow)",
    r"context the overflows",
    r"max_model_len|max_seq_len|max_num_tokens|\bn_ctx\b|exceed_context",
    r"max(imum)?[_ ]+(prompt|model|input|sequence)[_ ]+(length|len)",
    r"maximum allowed (input )?length",
    r"(prompt|input|request|text|message)s? (is|are|was)? ?too (long|large)",
    r"input (length|token count).*exceeds?",
    r"input tokens exceed",
    r"prompt.*(longer|larger|exceeds?).*(maximum|limit)",
    r"reduce the length of",
    r"max[_ ]tokens allowed",
    r"must have less than [\d,]+ tokens",
    r"`?inputs`? tokens \+ `?max_new_tokens`? must be",
    r"too many tokens",
    r"token limit",
    r"exceeds? the (limit|maximum) of [\d,]+",
    r"request[_ ](entity[_ ])?too[_ ]large|payload too large",
    r"range of input length",
)
_OUTPUT = _any(
    r"max_(completion_|output_|new_)?tokens.{0,60}?(too large|too high|must be (less|<=|at most)|exceeds|> \d+)",
    r"maxOutputTokens",
    r"valid range of max_(completion_)?tokens",
    r"maximum (allowed )?(number of )?(output|completion) tokens",
)
_INPUT_AND_OUTPUT = _any(r"context[_ ](length|limit|size)", r"max_(model|seq)_len", r"`?inputs`? tokens")

_N = r"`?\(?([\d,]+)"
_LIMITS = _any(
    rf"maximum (?:context|model|prompt|sequence|input|allowed)(?: input)? length(?: is| of)? {_N}",
    rf"context (?:length|window|size)(?: is| of)?(?: only)? {_N}",
    rf"context limit: [\d,]+ \+ [\d,]+ > {_N}",
    rf"(?:maximum number of tokens allowed|max tokens allowed|max_num_tokens|max_seq_len|cannot exceed) {_N}",
    rf"> {_N} maximum",
    rf"model with {_N} maximum",
    rf"(?:`?max_new_tokens`? must be <=|must have less than|configured limit of|the limit of) {_N}",
    rf'"n_ctx": {_N}',
)
_PROMPTS = _any(
    rf"\(?{_N} (?:tokens )?(?:in|of|from) (?:the |your )?(?:messages|prompt|text input|input messages)",
    rf"{_N} (?:`inputs`|input|prompt) tokens",
    rf"(?:prompt is too long:|messages resulted in|request contains|Given:|prompt contains) {_N}",
    rf"(?:input token count|Requested tokens|input length|prompt \(length|prompt length|the input|request) {_N}",
    rf"context limit: {_N} \+",
    rf"keep the first {_N} tokens",
    rf'"n_prompt_tokens": {_N}',
)
_COMPLETIONS = _any(
    rf"at most {_N} (?:completion|output) tokens",
    rf"must be (?:less than or equal to|<=|at most) {_N}",
    rf"maximum (?:number of )?output tokens {_N}",
    rf"> {_N}, which is the maximum",
    r"range of max_(?:completion_)?tokens is \[1, ([\d,]+)\]",
    r"to ([\d,]+) \(exclusive\)",
)


@dataclass(frozen=True)
class Reply:
    """An error as a server words it.

    Args:
        status: HTTP status; 200 for an error in the body or the stream of an answer.
        words: the message, in one line.
        all: everything that may tell what kind of error it is: message, code, type and what else the body has.
        retry_after: seconds after which the server asks to be tried again.
    """

    status: int
    words: str
    all: str
    retry_after: float | None = None

    @property
    def is_quota(self) -> bool:
        """Whether the account is used up."""
        told = self.retry_after is not None or "retryDelay" in self.all  # when to come back
        current = bool(_CURRENT_QUOTA.search(self.all)) and not told
        return self.status == 402 or current or bool(_QUOTA.search(self.all))

    @property
    def is_overflow(self) -> bool:
        """Whether the text does not fit the model's context."""
        return self.status == 413 or (bool(_OVERFLOW.search(self.all)) and not self.is_output)

    @property
    def is_output(self) -> bool:
        """Whether it is about the completion tokens alone."""
        return bool(_OUTPUT.search(self.all)) and not _INPUT_AND_OUTPUT.search(self.words.replace("context_window", ""))


def reply_of(status: int, body: str, headers: Mapping[str, str] | None = None) -> Reply:
    """What an error response says, whichever shape its body has."""
    value: object
    try:
        value = parsed(body)
    except ValueError:
        value = body
    words = describe(value) or f"HTTP {status}"
    everything = json.dumps(value, ensure_ascii=False) + " " + words
    return Reply(status, words, everything, None if headers is None else retry_after(headers))


def describe(value: object) -> str:
    """The message in the body of an error: JSON in any of the usual shapes, HTML or text."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(describe, value)))
    if isinstance(value, dict):
        found = (describe(value[name]) for name in ("error", "message", "detail", "msg", "errors") if value.get(name))
        return next(filter(None, found), "") or str(value.get("code") or value.get("type") or "")
    if isinstance(value, str) and is_html(value):
        return html_words(value)
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""


def is_html(text: str) -> bool:
    """Whether it is a web page."""
    return text.lstrip().startswith("<")


def html_words(text: str) -> str:
    """A web page in a few words: its title."""
    title = re.search(r"<(title|h1)[^>]*>(.*?)</\1", text, re.IGNORECASE | re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", " ", title[2]).split()) if title else ""
    return f"an HTML page titled {words!r}" if words else "an HTML page"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a response asks to wait, given in seconds, milliseconds or as a date."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - time.time()
            except ValueError:
                continue
        if isfinite(seconds):
            return max(0.0, seconds)
    return None


def backend_error(server: str, reply: Reply, hide: str = "") -> BackendError:
    """The error of `trim.errors` for a reply.

    Args:
        server: how errors call the server.
        reply: what it said.
        hide: the API key, which some servers repeat.
    """
    status, words = reply.status, shortened(reply.words, hide)
    problem = words if status == 200 else f"answered {status}: {words}"
    if reply.is_quota:
        return QuotaExhausted(server, problem, "the account behind the API key has no credit or quota left")
    if status == 429:
        return RateLimited(server, problem, retry_after=reply.retry_after)
    known = _of_words(server, reply, problem)
    if known is not None:
        return known
    if status == 408:
        return BackendTimeout(server, problem, told=True)
    if status in (200, 409) or status >= 500:
        return BackendUnavailable(server, problem, retry_after=reply.retry_after)
    hints = {401: "check api_key_env", 403: "check api_key_env", 404: "check model and base_url"}
    return BackendRefused(server, problem, hints.get(status, ""), status=status)


def _of_words(server: str, reply: Reply, problem: str) -> BackendError | None:
    """The kinds of error that only the words tell apart."""
    status = reply.status
    if _RATE.search(reply.all):
        return RateLimited(server, problem, retry_after=reply.retry_after) if status in (200, 503) else None
    if status in (401, 404):
        return None
    if _FILTER.search(reply.all):
        return ContentFiltered(server, problem, status=status)
    if reply.is_overflow:
        text = reply.all
        return InputTooLong(
            server,
            problem,
            LONGER_CONTEXT,
            status=status,
            limit=_number(_LIMITS, text),
            prompt=_number(_PROMPTS, text),
        )
    if reply.is_output:
        return OutputTooLong(server, problem, status=status, limit=_number(_COMPLETIONS, reply.all))
    return None


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    digits = next((group for group in found.groups() if group), "").replace(",", "") if found else ""
    return int(digits) if digits.isdigit() and len(digits) < 10 else None


def shortened(message: str, hide: str = "") -> str:
    """A server's message in one short line, without the key."""
    if len(hide) > 4:
        message = message.replace(hide, "[key]")
    line = " ".join(redacted(message).split())  # before it is cut: a part of a secret would not be known for one
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def told_error(value: Mapping[str, Any]) -> Reply | None:
    """The error that a JSON object of an answer is, if it is one; such a server has answered with status 200."""
    error = value.get("error")
    if not error and value.get("object") != "error" and value.get("type") != "error":
        return None
    inner = error if isinstance(error, dict) else value
    code = inner.get("code") if isinstance(inner.get("code"), int) else inner.get("status")
    status = code if isinstance(code, int) and 400 <= code < 600 else 200
    return Reply(status, describe(value) or "an error without a message", json.dumps(value, ensure_ascii=False))
