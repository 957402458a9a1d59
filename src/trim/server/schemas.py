"""Request bodies: OpenAI's chat and completion requests with a `trim` object, checked by pydantic.

The OpenAPI document comes from these classes too, so that a new field stands here and where it takes effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from trim.server.api_error import ApiError
from trim.types import Message, Question


def _text_of(content: Any) -> Any:
    """Message content as one text. Clients may send a list of text parts."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            raise PydanticCustomError("part", "only parts of type 'text' are supported: no images, audio or files")
        texts.append(part["text"])
    return "\n".join(texts)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts_of(prompt: Any) -> Any:
    """Prompts as a list of texts."""
    if isinstance(prompt, list) and any(isinstance(part, int | list) for part in prompt):
        raise PydanticCustomError("prompt", "only texts are supported, no token ids")
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
    """One message. The role `developer` means `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: _Content

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        """Clients send an assistant's message back with `refusal`, `tool_calls` and other fields that are null."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None or key == "content"}


class StreamOptions(_Strict):
    """`include_usage`: the stream ends with a chunk of token counts."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # accepted, without effect


class TrimOptions(_Strict):
    """How to route this request, instead of by the model's name. At most one of `parameter`, `price`, `strong_share`.

    `drafts`: the response includes the texts of rejected drafts.
    """

    policy: str | None = None
    parameter: float | None = None
    price: Annotated[float, Field(ge=0)] | None = None
    strong_share: Annotated[float, Field(ge=0, le=1)] | None = None
    max_strong_tokens: Annotated[int, Field(ge=0)] | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None
    drafts: bool | None = None


class BaseRequest(_Strict):
    """Fields of chat and completion requests."""

    operation: ClassVar[Literal["chat", "text_completion"]]  # as OpenTelemetry's conventions name it
    question_field: ClassVar[str]
    unsupported: ClassVar[
        Mapping[str, tuple[Any, ...]]
    ]  # fields with the values that are accepted: they change nothing

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
    user: str | None = None  # accepted, without effect

    def questions(self) -> list[Question]:
        """The questions; each gets `n` answers.

        Raises:
            ApiError: one is empty, or the messages are in a wrong order.
        """
        raise NotImplementedError

    def token_limit(self) -> int | None:
        """Completion tokens of an answer at most; None: no limit."""
        return self.max_tokens


class _Chat(BaseRequest):
    operation = "chat"
    question_field = "messages"

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    # Accepted, without effect.
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def token_limit(self) -> int | None:
        """Completion tokens of an answer at most; None: no limit."""
        return min((m for m in (self.max_tokens, self.max_completion_tokens) if m is not None), default=None)


class ChatRequest(_Chat):
    """The body of `POST /v1/chat/completions`."""

    unsupported = {
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
            ApiError: the last message is not the user's, or a system message follows others.
        """
        conversation: list[Message] = []
        for index, message in enumerate(self.messages):
            role: Literal["system", "user", "assistant"]
            role = "system" if message.role == "developer" else message.role
            if role == "system" and conversation and conversation[-1].role != "system":
                raise ApiError(
                    400, "system messages must come before all others", "invalid_value", f"messages[{index}].role"
                )
            conversation.append(Message(role, message.content))
        last = f"messages[{len(conversation) - 1}]"
        if conversation[-1].role != "user":
            raise ApiError(400, "the last message must be the user's", "invalid_value", f"{last}.role")
        if not conversation[-1].text.strip():
            raise ApiError(400, "the last message is empty", "invalid_value", f"{last}.content")
        return [Question(conversation[-1].text.strip(), messages=tuple(conversation[:-1]))]


class PassthroughRequest(_Chat):
    """A chat request with fields that only the strong model's server supports; that server checks its messages.

    `passed` has the fields that are passed through unchanged; `reasons` names those that made this necessary.
    """

    unsupported = ChatRequest.unsupported

    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    _passed: dict[str, Any] = PrivateAttr(default_factory=dict)
    _reasons: tuple[str, ...] = PrivateAttr(default=())

    @property
    def passed(self) -> dict[str, Any]:
        """Fields that are passed through unchanged."""
        return self._passed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Fields that a step router does not support."""
        return self._reasons

    @classmethod
    def of(cls, values: dict[str, Any], reasons: tuple[str, ...]) -> PassthroughRequest:
        """Make the request; unsupported fields are set aside to be passed through.

        Raises:
            ValidationError: another field is not valid.
        """
        given = {name: value for name in cls.unsupported if (value := values.pop(name, None)) not in (None, [], {})}
        made = cls.model_validate(values)
        made._passed, made._reasons = given, reasons
        return made

    def questions(self) -> list[Question]:
        """The text of the user's newest message, for logs and the web page."""
        contents = (message.get("content") for message in reversed(self.messages) if message.get("role") == "user")
        content = next(contents, "")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return [Question("\n".join(texts).strip())]


class CompletionRequest(BaseRequest):
    """The body of `POST /v1/completions`, OpenAI's older API. A prompt is answered as a user's message."""

    operation = "text_completion"
    question_field = "prompt"
    unsupported = {
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
            ApiError: a prompt is empty.
        """
        if not all(prompt.strip() for prompt in self.prompt):
            raise ApiError(400, "a prompt is empty", "invalid_value", "prompt")
        return [Question(prompt.strip()) for prompt in self.prompt]

    def token_limit(self) -> int | None:
        """Completion tokens of an answer at most; without `max_tokens` 16, as in OpenAI's API."""
        return 16 if self.max_tokens is None else self.max_tokens
