"""Server-sent events, from bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST: Final = 4 * 2**20
"""Bytes of an event at most, and of a line."""


class EventTooLong(ValueError):
    """An event, or a line, has no end within `MOST` bytes."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event with data; `kind` is its name, empty where it has none."""

    data: str
    kind: str = ""


class EventDecoder:
    """Finds the events in a stream of bytes that is cut anywhere: in a line's end or in a character.

    Lines end with LF, CR or CRLF. Several `data` lines of an event are joined with a newline. Comments, `id`, `retry`
    and events without data give nothing. Bytes that are no UTF-8 become U+FFFD. Unlike the standard, an event that the
    end of the stream cuts off counts: some servers send no blank line after the last one.
    """

    def __init__(self) -> None:
        self._open = b""  # the beginning of a line
        self._begun = False
        self._data: list[str] = []
        self._size = 0  # bytes of their lines
        self._kind = ""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that end in this chunk.

        Raises:
            EventTooLong: one is longer than `MOST`.
        """
        text = self._open + chunk
        # A CR at the end may be half of a CRLF: it waits for what follows.
        kept = len(text) - 1 if text.endswith(b"\r") else len(text)
        lines = text[:kept].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._open = lines.pop() + text[kept:]
        for line in lines:
            if (event := self._line(line)) is not None:
                yield event
        if len(self._open) > MOST or self._size > MOST:
            raise EventTooLong(f"an event of more than {MOST >> 20} MiB")

    def end(self) -> Iterator[Event]:
        """The event that the stream's end cuts off, if it has data."""
        for line in (self._open.removesuffix(b"\r"), b""):
            if (event := self._line(line)) is not None:
                yield event
        self._open = b""

    def _line(self, raw: bytes) -> Event | None:
        if not self._begun:
            self._begun, raw = True, raw.removeprefix(b"\xef\xbb\xbf")
        if not raw:
            event = Event("\n".join(self._data), self._kind) if self._data else None
            self._data, self._size, self._kind = [], 0, ""
            return event
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(raw) + 1
        elif name == "event":
            self._kind = value
        return None
