"""What requests of one connection say beside the text: a configuration's additions, less what the server has refused.

Models differ in what they take, and their names do not tell: current models of OpenAI and Anthropic refuse the
temperature that earlier ones take. So a refusal (status 400 or 422) that names a parameter is taken at its word: the
parameter is left out from then on, or called as the server calls it, and the request is sent once more. No I/O.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from trim.backends.response_json import parsed
from trim.errors import ConfigError

logger = logging.getLogger("trim.backends")

_SAMPLING = ("temperature", "top_p", "top_k")
_LOGPROBS, _TOPS = "logprobs", "top_logprobs"
_OPTIONAL = (
    *_SAMPLING,
    "min_p",
    "seed",
    "stream_options",
    "timings_per_token",
    "verbose",
    "return_tokens_as_token_ids",
    _LOGPROBS,
    _TOPS,
)
"""What may be left out without another answer being asked for; a text, a limit or a stop string never is."""

_LIMITS = ("max_tokens", "max_completion_tokens")

_GIVEN = ("model", "messages", "prompt", "stream")

_REFUSAL = re.compile(
    r"unsupported|not support|n't support|unknown|unrecogni[sz]ed|unexpected|deprecated|not permitted|not allowed"
    r"|cannot both be|cannot find field|extra_forbidden|extraneous|not a valid (parameter|argument)|only the default"
    r"|not enabled|not available",
    re.IGNORECASE,
)
_OUT_OF_RANGE = re.compile(
    r"max(imum)? allowed|greater than|less than or equal|at most|between|exceed|range", re.IGNORECASE
)
_TOO_MANY = re.compile(r"cannot both be|only one of|not both", re.IGNORECASE)
_ECHOES = ("input", "body", "request", "ctx")  # parts of an error that repeat the request
_PREFILL = re.compile(
    r"prefill|(must|has to|should) end with a user message|last message (must|has to|should) (be|have)\b.{0,30}user"
    r"|last (role|message) must not be .{0,3}assistant|assistant messages? .{0,40}(last|final) .{0,40}not supported",
    re.IGNORECASE,
)


class RequestParameters:
    """The parameters of one connection's requests.

    Args:
        name: what log lines call the server.
        omit: parameters that are never sent.
        extra: what every request says besides; it goes before what TRIM would say.

    Raises:
        ConfigError: one of these is a part of every request.
    """

    def __init__(self, name: str, omit: tuple[str, ...] = (), extra: Mapping[str, object] | None = None) -> None:
        for given in (*omit, *(extra or ())):
            if given in _GIVEN:
                raise ConfigError(f"{name}: {given!r} can be neither omitted nor set in extra_body")
        self._name = name
        self._omit = frozenset(omit)
        self._extra = dict(extra or {})
        self._refused: set[str] = set()
        self._limit: str | None = None
        self._no_prefill = False
        self._no_tops = False

    @property
    def learnt(self) -> tuple[str, ...]:
        """What the server was found to refuse, in words."""
        found = [f"does not take {', '.join(sorted(self._refused))}: left out"] if self._refused else []
        found += [f"takes {self._limit}"] if self._limit is not None else []
        found += ["tells no other tokens than those written"] if self._no_tops else []
        found += ["continues no partial answer: it is asked for a continuation in words"] if self._no_prefill else []
        return tuple(found)

    @property
    def prefill(self) -> bool:
        """Whether the server may continue a partial answer; False: it has refused to."""
        return not self._no_prefill

    @property
    def limits_tokens(self) -> bool:
        """Whether requests say how many tokens may be written at most."""
        return not self._omit.intersection(_LIMITS)

    def fitted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request as this connection's server takes it."""
        dropped = self._omit | self._refused
        if self._no_tops or _LOGPROBS in dropped:
            dropped |= {_TOPS}
            body = {**body, _LOGPROBS: 1} if _asked_tops(body) and _TOPS not in body else body
        fitted = {self._named(name): value for name, value in body.items() if name not in dropped}
        return fitted | self._extra

    def learn(self, error: str, sent: Mapping[str, Any]) -> None:
        """Note what a refusal says about the parameters of this request.

        Args:
            error: the body of the response.
            sent: the request, as `fitted` made it.
        """
        words = _words(error)
        if self._learn_tops(words, sent) or not _REFUSAL.search(words):
            return
        ours = {name for name in _OPTIONAL if name in sent and name not in self._extra}
        ours -= {_LOGPROBS} if "echo" in sent else set()  # it is what the request is for
        named = {name for name in ours if _names(words, name)}
        if "temperature" in named and _TOO_MANY.search(words):
            named.discard("temperature")
        elif "temperature" in named:  # a model that takes no temperature is not sampled in another way, either
            named |= ours & set(_SAMPLING)
        if new := named - self._refused:
            self._refused |= new
            logger.warning("%s does not take %s: left out from now on", self._name, ", ".join(sorted(new)))
        elif not named and self._limit is None and (limit := self._other_limit(words, sent)) is not None:
            self._limit = limit
            logger.warning("%s takes %s: the limit is sent under that name from now on", self._name, limit)

    def learn_prefill(self, problem: str) -> bool:
        """Whether a refusal says that the server continues no partial answer; it is noted."""
        if _PREFILL.search(problem) is None:
            return False
        if self.prefill:
            self._no_prefill = True
            logger.warning("%s continues no partial answer: asked for a continuation in words from now on", self._name)
        return True

    def _learn_tops(self, words: str, sent: Mapping[str, Any]) -> bool:
        """Whether a refusal says that so many of the likeliest tokens cannot be asked for; it is noted."""
        named = _names(words, _TOPS) or (_names(words, _LOGPROBS) and _OUT_OF_RANGE.search(words) is not None)
        if self._no_tops or not named or not _asked_tops(sent) or {_TOPS, _LOGPROBS} & self._extra.keys():
            return False
        self._no_tops = True
        logger.warning("%s tells no other tokens than those written: not asked for from now on", self._name)
        return True

    def _named(self, name: str) -> str:
        return self._limit if self._limit is not None and name in _LIMITS else name

    def _other_limit(self, words: str, sent: Mapping[str, Any]) -> str | None:
        """The other name of the limit, where the one that was sent is not taken."""
        ours = next((name for name in _LIMITS if name in sent and name not in self._extra), None)
        if ours is None:
            return None
        (other,) = (name for name in _LIMITS if name != ours)
        return other if _names(words, ours) else None


def _asked_tops(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for the likeliest tokens beside those written, which it can do without."""
    return "echo" not in body and bool(body.get(_TOPS) or ("prompt" in body and body.get(_LOGPROBS, 0) > 1))


def _names(words: str, parameter: str) -> bool:
    return re.search(rf"(?<![\w.-]){parameter}(?![\w-])", words) is not None


def _words(error: str) -> str:
    """What an error says, without the parts of it that repeat the request."""
    try:
        value = parsed(error)
    except ValueError:
        return error
    return json.dumps(_without_echoes(value)).replace("\\", "")


def _without_echoes(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_echoes(part) for name, part in value.items() if name not in _ECHOES}
    return [_without_echoes(part) for part in value] if isinstance(value, list) else value
