"""Where an answer ends: stop strings and token limits."""

from __future__ import annotations

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.test_endpoints import chat, routed
from trim.server.completion_stream import StopStrings


@pytest.mark.parametrize("most", [1, 39, 40, 41, 100])
def test_max_tokens(client: openai.OpenAI, most: int) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        reply = chat(client, "hard 7", seed=5, **{name: most})
        assert reply.usage.completion_tokens == most
        assert reply.choices[0].finish_reason == "length"


def test_stop_strings(client: openai.OpenAI) -> None:
    text = routed("hard 7", 5).text
    for stop in ("Step 2", "\n\nStep 3", "]\n\nStep 2", ["never", "draft"]):
        first = min(at for one in ([stop] if isinstance(stop, str) else stop) if (at := text.find(one)) >= 0)
        assert chat(client, "hard 7", seed=5, stop=stop).choices[0].message.content == text[:first]
        chunks = chat(client, "hard 7", seed=5, stop=stop, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text[:first]


@given(
    st.lists(st.text("ab\n", max_size=6), max_size=6),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
)
def test_stops_do_not_depend_on_where_a_text_is_cut(parts: list[str], stops: list[str]) -> None:
    finder, told, text = StopStrings(tuple(stops)), "", "".join(parts)
    for part in parts:
        told += finder.feed(part)
        if finder.found:
            break
    else:
        told += finder.rest()
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    if not ends:
        assert (told, finder.found) == (text, False)
    else:
        # the first that is complete ends the text, as on a server that reads token by token
        assert finder.found
        assert text.startswith(told)
        assert not any(stop in told for stop in stops)
