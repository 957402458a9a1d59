"""Halves of characters become characters, or U+FFFD; nothing becomes a question mark."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.backends.surrogates import SurrogateJoiner, whole_text, whole_texts


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("\ud83d\ude00", "😀"),
        ("a\ud83d", "a�"),
        ("\ude00a", "�a"),
        ("\ude00\ud83d", "��"),
        ("\ud83d\ud83d\ude00", "�😀"),
        ("e\u0301 \ufffd ?", "e\u0301 \ufffd ?"),
        ("😀", "😀"),
    ],
)
def test_halves_are_joined_or_replaced(text: str, whole: str) -> None:
    assert whole_text(text) == whole
    assert whole_texts({text: [text, 1, None]}) == {whole: [whole, 1, None]}


def chunk(text: str, field: str = "content") -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {field: text}}]}


def said(chunks: list[dict[str, Any]], field: str = "content") -> str:
    return "".join(choice["delta"].get(field, "") for each in chunks for choice in each["choices"])


@pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning", "refusal"])
def test_a_pair_split_over_chunks_is_one_character(field: str) -> None:
    joiner = SurrogateJoiner()
    chunks = [joiner.feed(chunk(text, field)) for text in ("a\ud83d", "", "\ude00b")]
    assert said(chunks, field) == "a😀b"
    assert not joiner.waiting
    assert list(joiner.rest()) == []


def test_a_half_that_stays_alone_is_a_replacement_character() -> None:
    joiner = SurrogateJoiner()
    chunks = [joiner.feed(chunk("a\ud83d")), {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    assert joiner.waiting
    assert said([*chunks, *joiner.rest()]) == "a�"
    assert not joiner.waiting


def test_fields_choices_and_tool_calls_do_not_mix() -> None:
    joiner = SurrogateJoiner()
    first, second = "\ud83d", "\ude00"

    def call(index: int, text: str) -> dict[str, Any]:
        return {"choices": [{"index": 1, "delta": {"tool_calls": [{"index": index, "function": {"arguments": text}}]}}]}

    joiner.feed(call(0, first))
    joiner.feed(call(1, first))
    joiner.feed(chunk(first))
    assert joiner.feed(call(1, second)) == call(1, "😀")
    assert joiner.feed(call(0, second)) == call(0, "😀")
    assert joiner.feed(chunk(second)) == chunk("😀")


def test_tokens_of_log_probabilities_wait_for_nothing() -> None:
    entry = {"token": "\ud83d", "logprob": -1.0, "bytes": [240, 159]}
    raw = {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [entry]}}]}
    joiner = SurrogateJoiner()
    found = joiner.feed(raw)["choices"][0]["logprobs"]["content"][0]
    assert found == entry | {"token": "�"}
    assert not joiner.waiting


@given(st.text(), st.lists(st.integers(0, 40), max_size=8))
def test_any_text_cut_anywhere_even_in_a_character_comes_out_whole(text: str, cuts: list[int]) -> None:
    """A server that counts in UTF-16, as JavaScript and Java do, may cut anywhere."""
    units = text.encode("utf-16-le", "surrogatepass")
    places = sorted({0, len(units), *(2 * cut for cut in cuts if 2 * cut < len(units))})
    joiner = SurrogateJoiner()
    chunks = []
    for begin, end in pairwise(places):
        part = json.dumps(units[begin:end].decode("utf-16-le", "surrogatepass"))
        chunks.append(joiner.feed(chunk(json.loads(part))))
    assert said([*chunks, *joiner.rest()]) == whole_text(text)
