"""What is dropped at the head of a chat reply, and that nothing else is."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.fake_server import serving
from trim.backends.openai import OpenAIGenerator
from trim.backends.prefix_repetition import Head
from trim.types import Question, Role, StepOptions

PREFIX = "Step 1 done.\n\n"


def kept(reply: list[str], *, repeats: bool, prefix: str = PREFIX) -> str:
    head = Head(prefix, repeats=repeats)
    return "".join([*map(head.feed, reply), head.rest()])


@pytest.mark.parametrize(
    ("reply", "left"),
    [
        ([PREFIX, "So 7."], "So 7."),
        (["", "Step", " 1 done.", "\n", "\n", "So 7."], "So 7."),
        (["Step 1 done.So 7."], "So 7."),
        (["Step 1 done.\nSo 7."], "So 7."),
        (["Step 2 done."], "Step 2 done."),
        (["Step 1", " do", "ne!"], "Step 1 done!"),
        (["Step 1 do"], "Step 1 do"),
        (["\n\nSo 7."], "\n\nSo 7."),
        ([], ""),
    ],
)
def test_only_a_whole_partial_answer_is_dropped(reply: list[str], left: str) -> None:
    assert kept(reply, repeats=True) == left


def test_of_a_server_that_does_not_repeat_only_doubled_white_space_goes() -> None:
    assert kept(["Step 1 done.", "\n\nSo 7."], repeats=False) == "Step 1 done.\n\nSo 7."
    assert kept(["\n", "\nSo 7."], repeats=False) == "So 7."


@given(
    st.text("ab\n", max_size=9), st.text("ab\n", max_size=9), st.lists(st.integers(0, 12), max_size=4), st.booleans()
)
def test_the_cut_of_a_reply_into_pieces_changes_nothing(
    prefix: str, reply: str, cuts: list[int], repeats: bool
) -> None:
    places = [0, *sorted(min(cut, len(reply)) for cut in cuts), len(reply)]
    pieces = [reply[a:b] for a, b in pairwise(places)]
    assert kept(pieces, repeats=repeats, prefix=prefix) == kept([reply], repeats=repeats, prefix=prefix)
    assert reply.endswith(kept(pieces, repeats=repeats, prefix=prefix))


def test_a_connection_is_tried_once_however_many_ask_and_again_after_a_failure() -> None:
    with serving(statuses=[500], usage="end") as habits:
        model = OpenAIGenerator(
            f"{habits.url}/v1", "m", Role.WEAK, backend="llama-server", continuation="chat", retries=0
        )

        async def ask() -> None:
            stream = model.steps(Question("q"), (PREFIX,), StepOptions(limit=1))
            await anext(stream)
            await stream.aclose()

        async def run() -> None:
            first = await asyncio.gather(*(ask() for _ in range(3)), return_exceptions=True)
            assert all(isinstance(error, Exception) for error in first)
            await asyncio.gather(*(ask() for _ in range(3)))
            await ask()
            await model.aclose()

        asyncio.run(run())
        trials = [request for request in habits.requests if request["max_tokens"] < 5]
        assert len(trials) == 2
        assert len(habits.requests) == 2 + 4
        assert model.usage.calls == 6
