"""Server-sent events are read as the standard says, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.backends.sse import Event, EventDecoder, EventTooLong


def events(*chunks: bytes) -> list[Event]:
    decoder = EventDecoder()
    return [*(event for chunk in chunks for event in decoder.feed(chunk)), *decoder.end()]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a\n\n", [" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\n\n", [""]),
        (b"data: a\ndata\ndata: b\n\n", ["a\n\nb"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b": comment\n\ndata: a\n\n:\n\n", ["a"]),
        (b"retry: 3000\n\ndata: a\n\n", ["a"]),
        (b"id: 1\n\nid: 2\ndata: a\n\n\n\n", ["a"]),
        (b"event: ping\n\ndata: a\n\n", ["a"]),
        (b"nonsense: x\ndata: a\n\n", ["a"]),
        (b"data: a\n\ndata: b", ["a", "b"]),
        (b"data: a\n\ndata: b\r", ["a", "b"]),
        (b"", []),
        (b"\n\n\n", []),
        (b"data: \xff\n\n", ["�"]),
    ],
)
def test_events_are_what_the_standard_says(stream: bytes, data: list[str]) -> None:
    assert [event.data for event in events(stream)] == data
    assert [event.data for event in events(*(stream[i : i + 1] for i in range(len(stream))))] == data


def test_an_event_has_the_name_that_stands_before_or_behind_its_data() -> None:
    assert events(b"event: error\ndata: a\n\ndata: b\nevent: ping\n\ndata: c\n\n") == [
        Event("a", "error"),
        Event("b", "ping"),
        Event("c"),
    ]


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=6), min_size=1, max_size=4),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_no_cut_changes_an_event(texts: list[str], end: bytes, cuts: list[int]) -> None:
    stream = b"".join(b": keep-alive" + end + b"data: " + text.encode() + end + end for text in texts)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[a:b] for a, b in pairwise(places)]
    assert [event.data for event in events(*chunks)] == texts


@pytest.mark.parametrize("part", [b"x", b"data: ", b"data: x\n", b"data\r", b"event: x"])
def test_what_has_no_end_is_refused(part: bytes) -> None:
    decoder, chunk = EventDecoder(), part * (100_000 // len(part))
    with pytest.raises(EventTooLong, match="more than 4 MiB"):
        for _ in range(60):
            assert not list(decoder.feed(chunk))
