"""The body of `POST /v1/responses`, OpenAI's newer API: text in, text out. The gateway stores nothing, so that what
refers to an earlier response is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from trim.server.api_error import ApiError
from trim.server.conversation import CONTENT, ChatMessage, Unserved, asked, unserved_message
from trim.server.parameters import IGNORED, RESPONSES_REFUSED, has_effect
from trim.server.schemas import BaseRequest
from trim.types import Message, Question

_ITEM_TYPES = ("message", "reasoning")
_LOGPROBS = "message.output_text.logprobs"
_STORED = {
    name: f"{name} is not supported: the gateway stores no responses; {instead}"
    for name, instead in (
        ("previous_response_id", "send the earlier messages in input"),
        ("conversation", "send the earlier messages in input"),
        ("background", "wait for the answer or stream it"),
        ("prompt", "send the text in instructions and input"),
    )
}


def _items(value: Any) -> Any:
    """A text is a message of the user."""
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


class InputItem(ChatMessage):
    """A message of the conversation, or an earlier answer's reasoning, which is ignored."""

    type: Literal["message", "reasoning"] = "message"

    @model_validator(mode="before")
    @classmethod
    def _reasoning(cls, values: Any) -> Any:
        """Reasoning has no role and no content to read."""
        if isinstance(values, dict) and values.get("type") == "reasoning":
            return {"type": "reasoning", "role": "assistant", "content": ""}
        return values


_ITEM = {
    "type": "object",
    "properties": {"role": {"enum": ["user", "assistant", "system", "developer"]}, "content": CONTENT},
    "required": ["role", "content"],
}
_Input = Annotated[
    list[InputItem],
    BeforeValidator(_items),
    Field(min_length=1, max_length=1000),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": _ITEM, "minItems": 1}]}),
]


class TextFormat(BaseModel):
    """The format of the answer."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    type: Literal["text"] = "text"


class TextOptions(BaseModel):
    """How the answer is formatted: as text. `verbosity` is ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    format: TextFormat | None = None


class ResponsesRequest(BaseRequest):
    """The body of `POST /v1/responses`. `seed` and `stop` are those of chat requests."""

    operation = "chat"
    question_field = "input"
    refused = RESPONSES_REFUSED
    ignored_fields = IGNORED - {"metadata", "top_k"} | {"include", "truncation", "max_tool_calls"}

    input: _Input
    instructions: str | None = None
    metadata: dict[str, Any] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    text: TextOptions | None = None

    @classmethod
    def unserved(cls, values: dict[str, Any]) -> Iterator[Unserved]:
        """What a body asks for that a step router cannot serve."""
        for one in super().unserved(values):
            yield one._replace(message=_STORED.get(one.param, one.message))
        text, include = values.get("text"), values.get("include")
        if isinstance(text, dict) and has_effect(text.get("format"), ({"type": "text"},)):
            yield Unserved("text.format", "text.format: only {'type': 'text'} is supported by a step router")
        if isinstance(include, list) and _LOGPROBS in include:
            yield Unserved("include", f"include: {_LOGPROBS} is not supported by a step router")
        items = values.get("input")
        for index, item in enumerate(items if isinstance(items, list) else ()):
            yield from _unserved_item(f"input[{index}]", item)

    @classmethod
    def without_effect(cls, values: dict[str, Any]) -> Iterator[str]:
        """The fields of a body that are ignored."""
        yield from super().without_effect(values)
        if isinstance(text := values.get("text"), dict) and "verbosity" in text:
            yield "text.verbosity"

    def questions(self) -> list[Question]:
        """The conversation as a question, `instructions` before everything.

        Raises:
            ApiError: the last message is an assistant's, or the question is empty.
        """
        items = enumerate(self.input)
        messages = {f"input[{index}]": item for index, item in items if item.type == "message"}
        if not messages:
            raise ApiError(400, "input has no message", "invalid_value", "input")
        question = asked(messages)
        if not self.instructions:
            return [question]
        return [replace(question, messages=(Message("system", self.instructions), *question.messages))]

    def repeated(self) -> dict[str, Any]:
        """Fields that the response repeats."""
        names = {"instructions", "max_output_tokens", "temperature", "top_p"}
        return self.model_dump(include=names) | {"metadata": self.metadata or {}}

    def token_limit(self) -> int | None:
        """Completion tokens of an answer at most; None: no limit."""
        return self.max_output_tokens


def _unserved_item(where: str, item: Any) -> Iterator[Unserved]:
    kind = item.get("type", "message") if isinstance(item, dict) else "message"
    if kind == "item_reference":
        words = f"{where}.type: the gateway stores no items; send the message itself (store: false makes clients do so)"
        yield Unserved(f"{where}.type", words)
    elif kind not in _ITEM_TYPES:
        yield Unserved(
            f"{where}.type", f"{where}.type: items of type {str(kind)[:50]!r} are not supported by a step router"
        )
    elif kind == "message":
        yield from unserved_message(where, item)
