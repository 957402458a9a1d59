"""Streamed messages are merged, wherever the server has cut them."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trim.server.chunk_merging import merge_deltas, whole_message


@given(st.text(max_size=12), st.lists(st.integers(0, 12), max_size=4), st.integers(0, 3))
def test_a_text_and_the_arguments_of_a_tool_call_do_not_depend_on_the_cuts(
    text: str, cuts: list[int], number: int
) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [text[start:end] for start, end in pairwise(places)]
    chunks: list[dict[str, Any]] = [
        {"role": "assistant", "tool_calls": [{"index": number, "id": "call_1", "function": {"name": "f"}}]},
        *({"content": part, "tool_calls": [{"index": number, "function": {"arguments": part}}]} for part in parts),
    ]
    merged = reduce(merge_deltas, chunks)
    assert (merged["role"], merged["content"]) == ("assistant", text)
    call = {"id": "call_1", "function": {"name": "f", "arguments": text}}
    assert merged["tool_calls"] == [{"index": number} | call]
    assert whole_message(merged)["tool_calls"] == [call]


def test_numbered_calls_are_kept_apart_and_nulls_change_nothing() -> None:
    first = {"content": "a", "tool_calls": [{"index": 0, "x": "1"}, {"index": 1, "x": "2"}]}
    second = {"content": None, "tool_calls": [{"index": 1, "x": "3"}], "logprobs": {"content": [7]}}
    merged = merge_deltas(merge_deltas({}, first), second)
    assert merged["content"] == "a"
    assert merged["tool_calls"] == [{"index": 0, "x": "1"}, {"index": 1, "x": "23"}]
    assert merge_deltas(merged, {"logprobs": {"content": [8]}})["logprobs"]["content"] == [7, 8]


def test_a_message_without_content_says_so() -> None:
    assert whole_message({"role": "assistant"}) == {"role": "assistant", "content": None, "refusal": None}
