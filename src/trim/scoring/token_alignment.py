r"""Which bytes of a text each token of a server's reply stands for.

Servers count offsets in characters or in bytes, with or without the token that they put in front, or send -1; none are
read here. The tokens' texts say where they stand, once they join to the text that was sent. A token that holds a part
of a character has no text of its own, and servers write it in several ways: as the byte's name (`<0xE2>`,
`bytes:\xe2\x80`), as U+FFFD, in the letters of a vocabulary file, as nothing, or together with the token that
completes the character. So every token may stand for several stretches, and all ways to join them are followed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache
from typing import Literal

_HEAD = 4  # tokens at most that a server puts before a text
_UNKNOWN = 64  # bytes at most of a first token that a server does not name
_FORMS: tuple[Literal["NFC", "NFKC"], ...] = ("NFC", "NFKC")
_SPLIT = 6  # bytes at most of two characters that a token holds parts of
_SPECIAL = re.compile(r"<[^<>\s]{1,40}>|\[[A-Za-z]{2,8}\]")  # <s>, <|begin_of_text|>, [CLS]
_SPECIAL_BYTES = re.compile(_SPECIAL.pattern.encode())
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_ESCAPED = re.compile(r"\\x([0-9A-Fa-f]{2})")


class _Reading(IntEnum):
    """How far from its bytes a token's text may be; each includes those before it."""

    EXACT = 0
    SPELLED = 1  # bytes by name, or the letters of a vocabulary file
    REPLACED = 2  # U+FFFD for parts of characters
    LOST = 3  # without a first space, without parts of characters, or nothing: its text stands with a token behind it


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as a server shows it.

    Args:
        text: None: the server does not say, as vLLM of a prompt's first token.
        data: its bytes, where the server sends them.
    """

    text: str | None
    data: bytes | None = None


Places = frozenset[tuple[int, int]]
"""The stretches of bytes, [start, end), that a token may stand for."""

Owners = frozenset[int | None]
"""The steps that a token may belong to; None: the head or a separator."""


@dataclass(frozen=True, slots=True)
class StepText:
    """A prompt that ends in steps, and which byte of it belongs to which step.

    Args:
        parts: its text in pieces, each with the index of the step that it is; None: the head or a separator.
        text: all of it.
        head: bytes before the first step.
        steps: [bytes] the index of the step, or None.
        visible: [bytes] where the next character that is not white space begins or goes on.
    """

    parts: tuple[tuple[str, int | None], ...]
    text: str
    head: int
    steps: tuple[int | None, ...]
    visible: tuple[int, ...]

    @classmethod
    def of(cls, head: str, steps: Sequence[str], joiner: str) -> StepText:
        """The head, then the steps with `joiner` between them."""
        parts: list[tuple[str, int | None]] = [(head, None)]
        for index, step in enumerate(steps):
            parts += [(joiner, None)] if index else []
            parts.append((step, index))
        return cls._of(tuple(parts))

    @classmethod
    def _of(cls, parts: tuple[tuple[str, int | None], ...]) -> StepText:
        owners: list[int | None] = []
        seen: list[bool] = []
        for part, owner in parts:
            for letter in part:
                size = len(letter.encode("utf-8", "surrogatepass"))
                owners += [owner] * size
                seen += [not letter.isspace()] * size
        visible = [len(seen)] * (len(seen) + 1)
        for at in reversed(range(len(seen))):
            visible[at] = at if seen[at] else visible[at + 1]
        head = len(parts[0][0].encode("utf-8", "surrogatepass"))
        return cls(parts, "".join(part for part, _ in parts), head, tuple(owners), tuple(visible))

    def normalised(self) -> Iterator[StepText]:
        """The text itself, and what it becomes where a tokenizer normalises Unicode."""
        yield self
        for form in _FORMS:
            if not unicodedata.is_normalized(form, self.text):
                yield StepText._of(tuple((unicodedata.normalize(form, part), owner) for part, owner in self.parts))

    def owners(self, places: Sequence[Places]) -> list[Owners]:
        """The steps that each token may belong to; None: none of them."""
        return [frozenset(self.owner(start, end) for start, end in stretches) for stretches in places]

    def owner(self, start: int, end: int) -> int | None:
        """The step that a token of these bytes belongs to: that of its first visible character.

        White space alone, and a token without bytes, belong where they begin.
        """
        first = self.visible[start]
        at = first if first < end else start
        return self.steps[at] if at < len(self.steps) else None


def align(text: str, tokens: Sequence[TokenText], *, head: int = 0, written: int = 0) -> list[Places] | None:
    """The places of every token, by the closest reading under which all of them join to the text; None: there is none.

    Args:
        text: what the server was sent.
        tokens: of its reply, in order.
        head: bytes of the text that may have special tokens in them.
        written: tokens at the end at most that the model wrote; they stand behind the text.
    """
    data = text.encode("utf-8", "surrogatepass")
    # U+FFFD may always be a part of a character, also where the text has one of its own.
    closest = _Reading.REPLACED if any("\ufffd" in (token.text or "") for token in tokens) else _Reading.EXACT
    for reading in _Reading:
        if reading >= closest and (places := _joined(data, tokens, reading, head, written)) is not None:
            return places
    return None


def _joined(
    data: bytes, tokens: Sequence[TokenText], reading: _Reading, head: int, written: int
) -> list[Places] | None:
    """All ways to cover the text from its beginning to its end, each token's stretches together."""
    forward: list[Places] = []
    ends = {0}
    for index, token in enumerate(tokens):
        places = {(start, end) for start in ends for end in _ends(data, start, token, reading, head)}
        if 0 in ends and index < _HEAD and _is_special(token):
            places.add((0, 0))
        if len(data) in ends and index >= len(tokens) - written:
            places.add((len(data), len(data)))
        if not places:
            return None
        forward.append(frozenset(places))
        ends = {end for _, end in places}
    alive = ends & {len(data)}
    result: list[Places] = []
    for stretches in reversed(forward):
        kept = frozenset(stretch for stretch in stretches if stretch[1] in alive)
        alive = {start for start, _ in kept}
        result.append(kept)
    return _inside(data, result[::-1]) if alive else None


def _inside(data: bytes, places: list[Places]) -> list[Places]:
    """The same with empty places spread over the text that stands with a token behind them.

    Such a token ended within a character of that text, where the next one began.
    """
    found = list(places)
    for index, stretches in enumerate(places):
        for at in [start for start, end in stretches if start == end < len(data)]:
            later = range(index + 1, len(places))
            last = next((i for i in later if any(start == at < end for start, end in places[i])), index)
            stop = max((end for start, end in places[last] if start == at), default=at)
            cuts = [cut for cut in range(at, stop) if data[cut] & 0xC0 == 0x80]
            if not cuts:
                continue
            behind = {(cut, stop) for cut in cuts}
            found[index] = found[index] - {(at, at)} | {(at, cut) for cut in cuts} | behind
            found[last] = (found[last] - {(at, stop)} if at else found[last]) | behind
    return found


def _is_special(token: TokenText) -> bool:
    """Whether a server may have put this token before the text."""
    return not token.text or _SPECIAL.fullmatch(token.text) is not None


def _ends(data: bytes, start: int, token: TokenText, reading: _Reading, head: int) -> Iterator[int]:
    """Where the token may end if it begins here."""
    if token.data:
        if data.startswith(token.data, start):
            yield start + len(token.data)
        return
    shown = token.text
    if shown is None:
        yield from range(min(_UNKNOWN, len(data)) + 1 if start == 0 else 0)
        return
    for spelling in _spellings(shown, reading):
        if spelling and data.startswith(spelling, start):
            yield start + len(spelling)
    if start == 0 and shown[:1] == " " and data.startswith(shown[1:].encode("utf-8", "surrogatepass")):
        yield len(shown[1:].encode("utf-8", "surrogatepass"))  # the space that some tokenizers put before a text
    longest = len(shown.encode("utf-8", "surrogatepass"))
    if reading >= _Reading.REPLACED and "\ufffd" in shown:
        yield from _decoded(data, start, shown, range(longest - 2 * shown.count("\ufffd"), longest + 1), "replace")
    if reading < _Reading.LOST:
        return
    yield from _decoded(data, start, shown, range(longest + 1, longest + _SPLIT + 1), "ignore")
    if not shown:
        yield start
        if start < head and (special := _SPECIAL_BYTES.match(data, start)):
            yield special.end()


def _decoded(data: bytes, start: int, shown: str, lengths: range, errors: str) -> Iterator[int]:
    """The ends at which the bytes from here on read as the text that is shown."""
    for end in (start + length for length in lengths):
        if end <= len(data) and data[start:end].decode("utf-8", errors) == shown:
            yield end


@lru_cache(maxsize=65_536)
def _spellings(shown: str, reading: _Reading) -> tuple[bytes, ...]:
    """The bytes that a token's text may mean."""
    found = [shown.encode("utf-8", "surrogatepass")]
    if reading >= _Reading.SPELLED:
        if byte := _BYTE.fullmatch(shown):
            found.append(bytes.fromhex(byte[1]))
        if shown.startswith("bytes:"):
            parts = _ESCAPED.split(shown.removeprefix("bytes:"))  # text and the digits of bytes in turn
            found.append(
                b"".join(bytes.fromhex(p) if i % 2 else p.encode("utf-8", "surrogatepass") for i, p in enumerate(parts))
            )
        if "\u2581" in shown:
            found.append(shown.replace("\u2581", " ").encode("utf-8", "surrogatepass"))
        if not shown.isascii() and all(letter in _letters() for letter in shown):
            found.append(bytes(_letters()[letter] for letter in shown))
    if reading >= _Reading.LOST:
        found += [b" " + spelling for spelling in found]
    return tuple(dict.fromkeys(found))


@cache
def _letters() -> dict[str, int]:
    """Bytes by the letters that stand for them in vocabularies of byte-level BPE (GPT-2): `\u0120` is a space."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in plain)
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}
