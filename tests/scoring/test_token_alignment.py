"""Tokens of every way in which servers show them find their places, or it is said that they cannot be found."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trim.scoring.token_alignment import Places, StepText, TokenText, _letters, align

CASES = int(os.environ.get("TRIM_FUZZ", "100"))
Show = Callable[[list[bytes]], list[TokenText]]


def plain(tokens: list[bytes], errors: str = "replace") -> list[TokenText]:
    """Each token decoded by itself, as SGLang sends it, or with parts of characters left out (llama-cpp-python)."""
    return [TokenText(token.decode("utf-8", errors)) for token in tokens]


def dropped(tokens: list[bytes]) -> list[TokenText]:
    return plain(tokens, "ignore")


def moved(tokens: list[bytes]) -> list[TokenText]:
    """vLLM: what ends in a part of a character is empty, its text comes with the token that completes it."""
    found, open_ = [], b""
    for token in tokens:
        open_ += token
        text = open_.decode("utf-8", "replace")
        if text.endswith("\ufffd") and not open_.endswith("\ufffd".encode()):
            found.append(TokenText(""))
        else:
            found.append(TokenText(text))
            open_ = b""
    return found


def with_bytes(tokens: list[bytes]) -> list[TokenText]:
    """llama-server: text and bytes."""
    return [TokenText(token.decode("utf-8", "replace"), token) for token in tokens]


def escaped(tokens: list[bytes]) -> list[TokenText]:
    """OpenAI: `bytes:` and the escapes of a token that is no text by itself."""
    found = []
    for token in tokens:
        try:
            found.append(TokenText(token.decode()))
        except UnicodeDecodeError:
            shown = "".join(chr(byte) if byte < 128 else f"\\x{byte:02x}" for byte in token)
            found.append(TokenText(f"bytes:{shown}"))
    return found


def byte_names(tokens: list[bytes]) -> list[TokenText]:
    """Byte fallback: what is no text by itself comes as single bytes, `<0xE2>`; spaces as U+2581."""
    found = []
    for token in tokens:
        try:
            found.append(TokenText(token.decode().replace(" ", "\u2581")))
        except UnicodeDecodeError:
            found += [TokenText(f"<0x{byte:02X}>") for byte in token]
    return found


def vocabulary(tokens: list[bytes]) -> list[TokenText]:
    """The letters of a byte-level vocabulary."""
    letters = {byte: letter for letter, byte in _letters().items()}
    return [TokenText("".join(letters[byte] for byte in token)) for token in tokens]


def stripped(tokens: list[bytes]) -> list[TokenText]:
    """SentencePiece tokens decoded one by one lose the space at their beginning."""
    return [TokenText(text.removeprefix(" ") if "\ufffd" not in text else text) for text in map(_replaced, tokens)]


def _replaced(token: bytes) -> str:
    return token.decode("utf-8", "replace")


WHOLE: list[Show] = [with_bytes, escaped, vocabulary]
LOSSY: list[Show] = [plain, dropped, moved, stripped]

letters = st.text(st.sampled_from("aB1 .\n\t<>é—数😀e\u0301\u200dĠ▁\ufffd0xE2"), max_size=12)

heads = st.sampled_from([[], [TokenText("<s>")], [TokenText("")], [TokenText("<|begin_of_text|>")]])
tails = st.sampled_from([[], [TokenText(" x")], [TokenText("")], [TokenText("\ufffd")]])


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[StepText, list[bytes]]:
    """A prompt with steps, and its bytes cut anywhere."""
    head = draw(st.sampled_from(["<|user|>How?<|assistant|>", "Wie groß?\n\n", "<|im_start|>user\n数<|im_end|>\n"]))
    steps = draw(st.lists(letters.map(str.strip).filter(bool), min_size=1, max_size=4))
    text = StepText.of(head, steps, draw(st.sampled_from(["\n\n", "\n", " "])))
    data = text.text.encode()
    if draw(st.booleans()):
        cuts = draw(st.sets(st.integers(1, len(data) - 1)))
    else:
        cuts = set(range(1, len(data))) - draw(st.sets(st.integers(1, len(data) - 1), max_size=12))
    ends = [*sorted(cuts), len(data)]
    return text, [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def owners(text: StepText, places: list[Places]) -> list[set[int | None]]:
    return [{text.owner(*place) for place in stretches} for stretches in places]


def truth(text: StepText, tokens: list[bytes]) -> list[int | None]:
    """The step of each token's first visible character, or of its first byte where it has none."""
    found, at = [], 0
    for token in tokens:
        data = text.text.encode()
        inside = range(at, at + len(token))
        visible = [b for b in inside if not _letter(data, b).isspace()]
        found.append(text.steps[visible[0] if visible else at])
        at += len(token)
    return found


def _letter(data: bytes, at: int) -> str:
    start = at
    while data[start] & 0xC0 == 0x80:
        start -= 1
    end = at + 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return data[start:end].decode()


@pytest.mark.parametrize("show", [*WHOLE, byte_names], ids=lambda show: show.__name__)
@settings(max_examples=CASES, deadline=None)
@given(begins=heads, ends=tails, case=cut_texts())
def test_tokens_with_all_their_bytes_are_found(
    show: Show, begins: list[TokenText], ends: list[TokenText], case: tuple[StepText, list[bytes]]
) -> None:
    text, tokens = case
    if show is byte_names:
        assume("\u2581" not in text.text)  # such a vocabulary takes it for a space
        tokens = [token for whole in tokens for token in _single(whole)]
    shown = [*begins, *show(tokens), *ends]
    places = align(text.text, shown, head=text.head, written=1)
    assert places is not None
    found = owners(text, places[len(begins) : len(begins) + len(tokens)])
    for possible, right in zip(found, truth(text, tokens), strict=True):
        assert right in possible
    certain = sum(len(possible) == 1 for possible in found)
    assert certain >= 0.9 * len(found) - 2


def _single(token: bytes) -> list[bytes]:
    try:
        token.decode()
    except UnicodeDecodeError:
        return [bytes([byte]) for byte in token]
    return [token]


@pytest.mark.parametrize("show", LOSSY, ids=lambda show: show.__name__)
@settings(max_examples=CASES, deadline=None)
@given(begins=heads, ends=tails, case=cut_texts())
def test_where_a_place_is_certain_it_is_the_right_one(
    show: Show, begins: list[TokenText], ends: list[TokenText], case: tuple[StepText, list[bytes]]
) -> None:
    """The right step is never ruled out: what is uncertain has it among others, and is refused."""
    text, tokens = case
    places = align(text.text, [*begins, *show(tokens), *ends], head=text.head, written=1)
    assert places is not None
    for possible, right in zip(owners(text, places[len(begins) :]), truth(text, tokens), strict=False):
        assert right in possible
