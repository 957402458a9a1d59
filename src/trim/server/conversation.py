"""Messages of a request, and the question that they ask.

A message is a record, not a request: of its fields only the role and the text are read, whatever else clients write
into it. What is no text (tool calls and their results, images, audio, files) is refused, or passed through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from trim.server.api_error import ApiError
from trim.types import Message, Question

_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


class Unserved(NamedTuple):
    """Something in a body that a step router cannot serve: the field, and a sentence."""

    param: str
    message: str


def unserved_message(where: str, message: Any) -> Iterator[Unserved]:
    """What a message has beside its text: tool calls and their results, images, audio, files."""
    if not isinstance(message, dict):
        return
    role, content = message.get("role"), message.get("content")
    if role in ("tool", "function"):
        yield Unserved(f"{where}.role", f"{where}.role: results of tools are not supported by a step router")
    for name in ("tool_calls", "function_call", "audio", "images"):
        if message.get(name):
            yield Unserved(f"{where}.{name}", f"{where}.{name} is not supported by a step router")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        if kind not in _TEXT_PARTS:
            words = f"{where}.content[{index}]: parts of type {str(kind)[:50]!r} are not supported by a step router"
            yield Unserved(f"{where}.content", words)
            return


def _text_of(content: Any) -> Any:
    """Message content as one text. Clients may send a list of text parts."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, dict) else None
        text = part.get("refusal" if kind == "refusal" else "text") if kind in _TEXT_PARTS else None
        if not isinstance(text, str):
            raise PydanticCustomError("part", "only parts of type 'text' are supported: no images, audio or files")
        texts.append(text)
    return "\n".join(texts)


_PARTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"type": {"enum": ["text", "input_text", "output_text"]}, "text": {"type": "string"}},
        "required": ["type", "text"],
    },
}
CONTENT = {"anyOf": [{"type": "string", "minLength": 1}, _PARTS]}
"""The JSON schema of a message's content."""

_Content = Annotated[str, BeforeValidator(_text_of), WithJsonSchema(CONTENT)]


class ChatMessage(BaseModel):
    """One message. The role `developer` means `system`. Fields other than these two are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: _Content

    @model_validator(mode="before")
    @classmethod
    def _without_content(cls, values: Any) -> Any:
        """An assistant's message may have a refusal instead of a text, or neither."""
        if isinstance(values, dict) and values.get("role") == "assistant" and values.get("content") is None:
            return values | {"content": values.get("refusal") or ""}
        return values


def asked(messages: Mapping[str, ChatMessage]) -> Question:
    """The conversation as a question: its newest message, and those before.

    System messages may stand anywhere. One behind the last user's message does not change who asked; behind an
    assistant's, or alone, it is itself the question.

    Args:
        messages: at least one, by their paths in the body.

    Raises:
        ApiError: the last message is an assistant's, or the question is empty.
    """
    paths, said = tuple(messages), [Message(_role(message), message.content) for message in messages.values()]
    last = len(said) - 1
    if said[last].role == "assistant":
        raise ApiError(400, "the last message must be the user's", "invalid_value", f"{paths[last]}.role")
    turns = [index for index, message in enumerate(said) if message.role != "system"]
    newest = turns[-1] if turns and said[turns[-1]].role == "user" else last
    if not said[newest].text.strip():
        raise ApiError(400, "the last message is empty", "invalid_value", f"{paths[newest]}.content")
    return Question(said.pop(newest).text, messages=tuple(said))


def _role(message: ChatMessage) -> Literal["system", "user", "assistant"]:
    return "system" if message.role == "developer" else message.role
