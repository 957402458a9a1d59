"""From a request's bytes to one of the classes in `trim.server.schemas`. What is not valid is rejected by its name."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from trim.server.api_error import ApiError
from trim.server.conversation import Unserved
from trim.server.schemas import BaseRequest, ChatRequest, PassthroughRequest

_MOST_VALUES = 100_000  # numbers, texts, lists, objects
_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[{,]', re.DOTALL)  # a string, or what a value comes behind
_QUOTE = ord('"')


def parse(body: bytes, kind: type[BaseRequest], *, passed: frozenset[str] | None = None) -> BaseRequest:
    """The request in a body. A field that is null counts as not given, wherever it stands.

    Args:
        body: JSON, as the client sent it.
        kind: of request that the endpoint takes.
        passed: a chat that a step router cannot serve becomes a `PassthroughRequest` instead of an error; the strong
            model's server takes these fields beside those that a step router does not support. None: it is an error.

    Raises:
        ApiError: the body is not JSON, or a field is unknown, unsupported or not valid; names it.
    """
    _check_values(body)
    try:
        values = from_json(body.removeprefix(BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", "invalid_json") from None
    if not isinstance(values, dict):
        raise ApiError(400, "the body must be a JSON object", "invalid_type")
    given: dict[str, Any] = _without_nulls(values)
    unserved = list(kind.unserved(given))
    try:
        if unserved and passed is not None and kind is ChatRequest:
            return PassthroughRequest.passing(values, tuple(one.param for one in unserved), passed)
        if unserved:
            raise _refusal(unserved[0], kind)
        return kind.of(given)
    except ValidationError as error:
        raise _first_error(error) from None


def _check_values(body: bytes) -> None:
    """Refuse a body with more values than any request has, before they are made.

    Raises:
        ApiError: 400, it has too many.
    """
    if len(body) <= 2 * _MOST_VALUES:  # each takes two bytes at least
        return
    found = sum(1 for mark in _MARKS.finditer(body) if mark[0][0] != _QUOTE)
    if found > _MOST_VALUES:
        raise ApiError(400, f"the body has more than {_MOST_VALUES} values", "too_many_values")


def _without_nulls(value: Any) -> Any:
    """A JSON value without the fields that are null. A null in a list keeps its place."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _refusal(unserved: Unserved, kind: type[BaseRequest]) -> ApiError:
    hint = "; [serve] pass_through hands such requests to the strong model's server" if kind is ChatRequest else ""
    return ApiError(400, f"{unserved.message}{hint}", "unsupported_parameter", unserved.param)


def _first_error(error: ValidationError) -> ApiError:
    """The first thing that is not valid, with its path written as in OpenAI's errors."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ""
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"unrecognized request argument: {path[:200]}", "unknown_parameter", path[:200])
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return ApiError(400, f"{path}: it must be an object", "invalid_type", path)
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return ApiError(400, f"{path}: {first['msg'][:300]}", code, path)
