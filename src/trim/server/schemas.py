"""What clients send: OpenAI's chat and completion requests, checked; whatever is wrong is refused by name in OpenAI's
error shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
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


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts_of(prompt: Any) -> Any:
    """Prompts as a list of texts."""
    if isinstance(prompt, list) and any(isinstance(part, int | list) for part in prompt):
        raise PydanticCustomError("prompt", "only texts can be read, no token ids")
    return _listed(prompt)


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
    BeforeValidator(_listed),
    Field(max_length=4),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": 4}]}),
]
_PROMPT = {"type": "string", "minLength": 1}
_Prompts = Annotated[
    list[str],
    BeforeValidator(_texts_of),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_PROMPT, {"type": "array", "items": _PROMPT, "minItems": 1}]}),
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


class Asked(_Strict):
    """What requests of both kinds may ask for."""

    where: ClassVar[str]  # the field that holds the question
    unserved: ClassVar[Mapping[str, tuple[Any, ...]]]  # fields that are not served, with values that ask for nothing

    model: str = "trim"
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: _Stops | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    trim: TrimOptions | None = None
    user: str | None = None  # accepted and without effect

    def questions(self) -> list[Question]:
        """What is asked; each question has `n` answers.

        Raises:
            Refusal: there is nothing to answer.
        """
        raise NotImplementedError

    def most(self) -> int | None:
        """Tokens of an answer at most."""
        return self.max_tokens


class _Chat(Asked):
    where = "messages"

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    # Accepted and without effect, as nothing here depends on them.
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def most(self) -> int | None:
        """Tokens of an answer at most."""
        return min((m for m in (self.max_tokens, self.max_completion_tokens) if m is not None), default=None)


class ChatRequest(_Chat):
    """The body of `POST /v1/chat/completions`."""

    unserved = {
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

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]

    def questions(self) -> list[Question]:
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
        return [Question(said[-1].text.strip(), messages=tuple(said[:-1]))]


class PassedRequest(_Chat):
    """A chat request that asks for what only the strong model's server knows; its messages are looked at there.

    `others` are the fields that are not ours, `reasons` names what is not served here.
    """

    unserved = ChatRequest.unserved

    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    _others: dict[str, Any] = PrivateAttr(default_factory=dict)
    _reasons: tuple[str, ...] = PrivateAttr(default=())

    @property
    def others(self) -> dict[str, Any]:
        return self._others

    @property
    def reasons(self) -> tuple[str, ...]:
        return self._reasons

    @classmethod
    def of(cls, values: dict[str, Any], reasons: tuple[str, ...]) -> PassedRequest:
        """The request in these values.

        Raises:
            ValidationError: one of our own fields is wrong.
        """
        given = {name: value for name in cls.unserved if (value := values.pop(name, None)) not in (None, [], {})}
        made = cls.model_validate(values)
        made._others, made._reasons = given, reasons
        return made

    def questions(self) -> list[Question]:
        """The newest words of the user, for logs and the page."""
        said = (message.get("content") for message in reversed(self.messages) if message.get("role") == "user")
        content = next(said, "")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return [Question("\n".join(texts).strip())]


class CompletionRequest(Asked):
    """The body of `POST /v1/completions`, OpenAI's older API. A prompt is answered as a user's message."""

    where = "prompt"
    unserved = {
        "echo": (False,),
        "suffix": ("",),
        "best_of": (1,),
        "logprobs": (),
        "logit_bias": ({},),
        "frequency_penalty": (0,),
        "presence_penalty": (0,),
    }

    prompt: _Prompts

    def questions(self) -> list[Question]:
        """A question for each prompt.

        Raises:
            Refusal: a prompt is empty.
        """
        if not all(prompt.strip() for prompt in self.prompt):
            raise Refusal(400, "a prompt is empty", "invalid_value", "prompt")
        return [Question(prompt.strip()) for prompt in self.prompt]

    def most(self) -> int | None:
        """Tokens of an answer at most: 16 where nothing is said, as OpenAI's documentation has it."""
        return 16 if self.max_tokens is None else self.max_tokens


def parse(body: bytes, kind: type[Asked], *, passing: bool = False) -> Asked:
    """The request in a body.

    Args:
        body: what the client sent.
        kind: of the endpoint.
        passing: chats that ask for what is not served become a `PassedRequest`.

    Raises:
        Refusal: not JSON, a field is unknown, not served or out of range; names it.
    """
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(400, f"the body is not JSON: {error}", "invalid_json") from None
    if not isinstance(values, dict):
        raise Refusal(400, "the body must be a JSON object", "invalid_type")
    unserved = [name for name, nothing in kind.unserved.items() if _asks(values.get(name), nothing)]
    try:
        if passing and kind is ChatRequest and (reasons := (*unserved, *_rich(values.get("messages")))):
            return PassedRequest.of(values, reasons)
        if unserved:
            words = f"{unserved[0]} is not served by a step router"
            raise Refusal(400, words, "unsupported_parameter", unserved[0])
        return kind.model_validate({name: value for name, value in values.items() if name not in kind.unserved})
    except ValidationError as error:
        raise _refusal(error) from None


def _asks(value: Any, nothing: tuple[Any, ...]) -> bool:
    """Whether a value asks for something."""
    return value is not None and not any(
        value == other and isinstance(value, bool) is isinstance(other, bool) for other in nothing
    )


def _rich(messages: Any) -> Iterator[str]:
    """What stands in messages besides texts: tool calls and their results, images, sound, files."""
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
