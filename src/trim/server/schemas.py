"""Request bodies: OpenAI's chat and completion requests with a `trim` object, checked by pydantic.

The OpenAPI document comes from these classes too, so that a new field stands here and where it takes effect. Fields
that have none are in `trim.server.parameters`, and the Responses API's body in `trim.server.responses_request`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, WithJsonSchema
from pydantic_core import PydanticCustomError

from trim.server.api_error import ApiError
from trim.server.conversation import ChatMessage, Unserved, asked, unserved_message
from trim.server.parameters import (
    CHAT_REFUSED,
    COMPLETION_REFUSED,
    IGNORED,
    Neutral,
    has_effect,
)
from trim.types import Question


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts_of(prompt: Any) -> Any:
    """Prompts as a list of texts."""
    if isinstance(prompt, list) and any(isinstance(part, int | list) for part in prompt):
        raise PydanticCustomError("prompt", "only texts are supported, no token ids")
    return _listed(prompt)


_STOP = {"type": "string", "minLength": 1, "maxLength": 200}
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
    Field(min_length=1, max_length=1000),
    WithJsonSchema({"anyOf": [_PROMPT, {"type": "array", "items": _PROMPT, "minItems": 1, "maxItems": 1000}]}),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class StreamOptions(BaseModel):
    """`include_usage`: the stream ends with a chunk of token counts. Other options are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    include_usage: bool | None = None


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
    """Fields of all requests that ask for answers."""

    operation: ClassVar[Literal["chat", "text_completion"]]  # as OpenTelemetry's conventions name it
    question_field: ClassVar[str]
    refused: ClassVar[Neutral]  # fields that a step router cannot serve, with the values that ask for nothing
    ignored_fields: ClassVar[frozenset[str]] = IGNORED - {"top_k"}

    model: str = "trim"
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None  # 0 and -1: no limit
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: _Stops | None = None
    trim: TrimOptions | None = None
    _ignored: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def of(cls, values: dict[str, Any]) -> BaseRequest:
        """Make the request of a body without nulls, none of which is unserved.

        Raises:
            ValidationError: a field is unknown or not valid.
        """
        known = values.keys() - cls.refused.keys() - cls.ignored_fields
        made = cls.model_validate({name: value for name, value in values.items() if name in known})
        made._ignored = tuple(sorted(cls.without_effect(values)))
        return made

    @classmethod
    def unserved(cls, values: dict[str, Any]) -> Iterator[Unserved]:
        """What a body asks for that a step router cannot serve."""
        for name, neutral in cls.refused.items():
            if has_effect(values.get(name), neutral):
                yield Unserved(name, f"{name} is not supported by a step router")

    @classmethod
    def without_effect(cls, values: dict[str, Any]) -> Iterator[str]:
        """The fields of a body that are ignored."""
        yield from values.keys() & cls.ignored_fields

    @property
    def ignored(self) -> tuple[str, ...]:
        """Fields that were given and have no effect, sorted."""
        return self._ignored

    @property
    def count(self) -> int:
        """Answers to each question."""
        return 1

    def questions(self) -> list[Question]:
        """The questions; each gets `count` answers.

        Raises:
            ApiError: one is empty, or the messages are in a wrong order.
        """
        raise NotImplementedError

    def token_limit(self) -> int | None:
        """Completion tokens of an answer at most; None: no limit."""
        raise NotImplementedError


class _Choices(BaseRequest):
    """What chat and completion requests have in common."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None

    @property
    def count(self) -> int:
        """Answers to each question."""
        return self.n or 1


class _Chat(_Choices):
    operation = "chat"
    question_field = "messages"
    refused = CHAT_REFUSED

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    def token_limit(self) -> int | None:
        """Completion tokens of an answer at most; None: no limit."""
        return min((m for m in (self.max_tokens, self.max_completion_tokens) if m is not None), default=None)

    @classmethod
    def unserved(cls, values: dict[str, Any]) -> Iterator[Unserved]:
        """What a body asks for that a step router cannot serve."""
        yield from super().unserved(values)
        messages = values.get("messages")
        for index, message in enumerate(messages if isinstance(messages, list) else ()):
            yield from unserved_message(f"messages[{index}]", message)


class ChatRequest(_Chat):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]

    def questions(self) -> list[Question]:
        """The conversation as a question.

        Raises:
            ApiError: the last message is an assistant's, or the question is empty.
        """
        return [asked({f"messages[{index}]": message for index, message in enumerate(self.messages)})]


class PassthroughRequest(_Chat):
    """A chat request with fields that only the strong model's server supports; that server checks its messages.

    `passed` has the fields that are passed through unchanged; `reasons` names those that made this necessary.
    """

    ignored_fields = IGNORED

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
    def passing(cls, values: dict[str, Any], reasons: tuple[str, ...], others: frozenset[str]) -> PassthroughRequest:
        """Make the request; fields that only a server understands are set aside to be passed through.

        Args:
            values: the body as the client sent it.
            reasons: what a step router cannot serve.
            others: further fields that the server takes.

        Raises:
            ValidationError: another field is not valid.
        """
        passed = cls.refused.keys() | others
        given = {name: value for name, value in values.items() if value is not None}
        known = given.keys() - passed - cls.ignored_fields
        made = cls.model_validate({name: value for name, value in given.items() if name in known})
        made._passed = {
            name: value
            for name, value in given.items()
            if name in passed and (value not in ([], {}) or has_effect(value, cls.refused.get(name, ())))
        }
        made._reasons = reasons
        made._ignored = tuple(sorted(name for name in cls.without_effect(given) if name not in passed))
        return made

    def questions(self) -> list[Question]:
        """The text of the user's newest message, for logs and the web page."""
        contents = (message.get("content") for message in reversed(self.messages) if message.get("role") == "user")
        content = next(contents, "")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return [Question("\n".join(texts).strip())]


class CompletionRequest(_Choices):
    """The body of `POST /v1/completions`, OpenAI's older API. A prompt is answered as a user's message."""

    operation = "text_completion"
    question_field = "prompt"
    refused = COMPLETION_REFUSED

    prompt: _Prompts

    def questions(self) -> list[Question]:
        """A question for each prompt.

        Raises:
            ApiError: a prompt is empty.
        """
        if not all(prompt.strip() for prompt in self.prompt):
            raise ApiError(400, "a prompt is empty", "invalid_value", "prompt")
        return [Question(prompt) for prompt in self.prompt]

    def token_limit(self) -> int | None:
        """Completion tokens of an answer at most; without `max_tokens` 16, as in OpenAI's API."""
        return 16 if self.max_tokens is None else self.max_tokens
