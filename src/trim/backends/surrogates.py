r"""Halves of characters in JSON texts.

JSON writes a character such as an emoji as two escapes, `\ud83d\ude00`, and a server may send them in two chunks.
Alone, neither half can be encoded. Two halves that belong together become the character; one that stays alone becomes
U+FFFD, the replacement character, as Unicode says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_Path = tuple[str | int, ...]
_CONTINUED = ("text", "content", "reasoning", "reasoning_content", "refusal", "arguments")  # texts that chunks continue


def whole_text(text: str) -> str:
    """The text with pairs of halves joined, and U+FFFD for a half alone."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def whole_texts(value: Any) -> Any:
    """A JSON value with all its texts whole, names of fields included."""
    return map_texts(value, whole_text)


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with all its texts changed, names of fields included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_texts(entry, change) for entry in value]
    if isinstance(value, dict):
        return {change(name): map_texts(entry, change) for name, entry in value.items()}
    return value


class SurrogateJoiner:
    """Makes the texts of the chunks of one stream whole: a half at a text's end waits for the chunk that goes on."""

    def __init__(self) -> None:
        self._halves: dict[_Path, str] = {}

    @property
    def waiting(self) -> bool:
        """Whether a half waits."""
        return bool(self._halves)

    def feed(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The chunk with whole texts."""
        joined: dict[str, Any] = self._join(chunk, ())
        return joined

    def rest(self) -> Iterator[dict[str, Any]]:
        """Chunks with U+FFFD for every half that has stayed alone."""
        halves, self._halves = self._halves, {}
        for path in halves:
            yield _nested(path, "�")

    def _join(self, value: Any, path: _Path) -> Any:
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, dict):
            return {whole_text(name): self._join(entry, (*path, name)) for name, entry in value.items()}
        if isinstance(value, list):
            return [self._join(entry, (*path, _number(entry, place))) for place, entry in enumerate(value)]
        return value

    def _text(self, text: str, path: _Path) -> str:
        if not path or path[-1] not in _CONTINUED or "logprobs" in path:
            return whole_text(text)
        if text:
            text = self._halves.pop(path, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[path] = text[-1]
            text = text[:-1]
        return whole_text(text)


def _number(entry: object, place: int) -> int:
    """By what an entry is found again in the next chunk: its own index where it has one."""
    number = entry.get("index", place) if isinstance(entry, dict) else place
    return number if isinstance(number, int) else place


def _nested(path: _Path, text: str) -> dict[str, Any]:
    value: Any = text
    for key in reversed(path):
        value = {key: value} if isinstance(key, str) else [{"index": key, **value}]
    assert isinstance(value, dict)
    return value
