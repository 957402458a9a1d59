"""What clients send: OpenAI's chat request, checked; whatever is wrong is refused by name in OpenAI's error shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError, from_json

from trim.types import Message, Question


@dataclass(eq=False)
class Refusal(Exception):
    """An error as clients see it. `param` is the field at fault, `retry_after` in seconds."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    kind: str = "invalid_request_error"
    retry_after: float | None = None

    def body(self) -> dict[str, Any]:
        """OpenAI's error shape."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def _text_of(content: Any) -> Any:
    """Content as a text; it may come as a list of text parts."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            raise PydanticCustomError("part", "only parts of type 'text' can be read, no images, sound or files")
        texts.append(part["text"])
    return "\n".join(texts)


def _stops_of(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


_PARTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        "required": ["type", "text"],
    },
}
_STOP = {"type": "string", "minLength": 1, "maxLength": 200}
_Content = Annotated[
    str, BeforeValidator(_text_of), WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _PARTS]})
]
_Stops = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]],
    BeforeValidator(_stops_of),
    Field(max_length=4),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": 4}]}),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ChatMessage(_Strict):
    """One message; `developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: _Content

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        """Clients send an assistant's message back with `refusal`, `tool_calls` and the like, which are null."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None or key == "content"}


class StreamOptions(_Strict):
    """`include_usage`: a last chunk with the token counts."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # accepted; nothing is obfuscated


class TrimOptions(_Strict):
    """How this request is routed, instead of by the model's name. At most one of `parameter`, `price`, `strong_share`.

    `drafts`: the reply has the texts of rejected drafts.
    """

    policy: str | None = None
    parameter: float | None = None
    price: Annotated[float, Field(ge=0)] | None = None
    strong_share: Annotated[float, Field(ge=0, le=1)] | None = None
    max_strong_tokens: Annotated[int, Field(ge=0)] | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None
    drafts: bool | None = None


class ChatRequest(_Strict):
    """The body of `POST /v1/chat/completions`."""

    model: str = "trim"
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: _Stops | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    trim: TrimOptions | None = None
    # Accepted and without effect, as nothing here depends on them.
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def question(self) -> Question:
        """The conversation as a question.

        Raises:
            Refusal: the last message is not the user's, or a system message stands behind others.
        """
        said: list[Message] = []
        for index, message in enumerate(self.messages):
            role: Literal["system", "user", "assistant"]
            role = "system" if message.role == "developer" else message.role
            if role == "system" and said and said[-1].role != "system":
                where = f"messages[{index}].role"
                raise Refusal(400, "system messages must come before all others", "invalid_value", where)
            said.append(Message(role, message.content))
        where = f"messages[{len(said) - 1}]"
        if said[-1].role != "user":
            raise Refusal(400, "the last message must be the user's", "invalid_value", f"{where}.role")
        if not said[-1].text.strip():
            raise Refusal(400, "the last message is empty", "invalid_value", f"{where}.content")
        return Question(said[-1].text.strip(), messages=tuple(said[:-1]))


# Fields of OpenAI's API that would change the answer and are not served, with the values that ask for nothing.
_UNSERVED: Mapping[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
    "moderation": (),
    "prompt_cache_retention": (),
}


def parse(body: bytes) -> ChatRequest:
    """The request in a body.

    Raises:
        Refusal: not JSON, a field is unknown, not served or out of range; names it.
    """
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(400, f"the body is not JSON: {error}", "invalid_json") from None
    if not isinstance(values, dict):
        raise Refusal(400, "the body must be a JSON object", "invalid_type")
    for name, nothing in _UNSERVED.items():
        value = values.pop(name, None)
        if value is not None and not any(
            value == other and isinstance(value, bool) is isinstance(other, bool) for other in nothing
        ):
            raise Refusal(400, f"{name} is not served by a step router", "unsupported_parameter", name)
    try:
        return ChatRequest.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> Refusal:
    """The first thing that is wrong, in OpenAI's words."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ""
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if first["type"] == "extra_forbidden":
        return Refusal(400, f"unrecognized request argument: {path[:200]}", "unknown_parameter", path[:200])
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return Refusal(400, f"{path}: {first['msg'][:300]}", code, path)
