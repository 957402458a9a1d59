"""From a request's bytes to one of the classes in `trim.server.schemas`. What is not valid is rejected by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from trim.server.api_error import ApiError
from trim.server.schemas import BaseRequest, ChatRequest, PassthroughRequest


def parse(body: bytes, kind: type[BaseRequest], *, pass_through: bool = False) -> BaseRequest:
    """The request in a body.

    Args:
        body: JSON, as the client sent it.
        kind: of request that the endpoint takes.
        pass_through: a chat with unsupported fields becomes a `PassthroughRequest` instead of an error.

    Raises:
        ApiError: the body is not JSON, or a field is unknown, unsupported or not valid; names it.
    """
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", "invalid_json") from None
    if not isinstance(values, dict):
        raise ApiError(400, "the body must be a JSON object", "invalid_type")
    unsupported = [name for name, neutral in kind.unsupported.items() if _has_effect(values.get(name), neutral)]
    try:
        if pass_through and kind is ChatRequest and (reasons := (*unsupported, *_rich(values.get("messages")))):
            return PassthroughRequest.of(values, reasons)
        if unsupported:
            message = f"{unsupported[0]} is not supported by a step router"
            raise ApiError(400, message, "unsupported_parameter", unsupported[0])
        return kind.model_validate({name: value for name, value in values.items() if name not in kind.unsupported})
    except ValidationError as error:
        raise _first_error(error) from None


def _has_effect(value: Any, neutral: tuple[Any, ...]) -> bool:
    """Whether the value of an unsupported field would change the answer. `False` is not 0 here."""
    return value is not None and not any(
        value == other and isinstance(value, bool) is isinstance(other, bool) for other in neutral
    )


def _rich(messages: Any) -> Iterator[str]:
    """Where messages have something else than text: tool calls and their results, images, audio, files."""
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            continue
        where, content = f"messages[{index}]", message.get("content")
        if message.get("role") in ("tool", "function"):
            yield f"{where}.role"
        yield from (f"{where}.{name}" for name in ("tool_calls", "function_call", "audio") if message.get(name))
        parts = content if isinstance(content, list) else ()
        if any(isinstance(part, dict) and part.get("type") not in (None, "text") for part in parts):
            yield f"{where}.content"


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
