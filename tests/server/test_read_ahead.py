"""What a server sends is read and counted while nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from trim.backends.base import BaseGenerator, step_stream
from trim.server.read_ahead import ReadAhead, StepsAhead
from trim.types import Finish, Question, Role, Step, StepOptions


class Three(BaseGenerator):
    """Three steps, then an error."""

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        for number in range(3):
            await asyncio.sleep(0)
            yield Step(f"{number}\n\n", Role.WEAK, 5, Finish.SEPARATOR, prompt_tokens=7 * (number == 0))
        raise OSError("gone")


def test_steps_that_nobody_took_are_pending() -> None:
    async def read() -> None:
        stream = StepsAhead(Three().steps(Question("q"), ()))
        assert (await anext(stream)).text == "0\n\n"
        for _ in range(20):
            await asyncio.sleep(0)
        assert stream.pending_tokens == 10
        assert stream.late_counts.prompt == 0
        assert (await anext(stream)).text == "1\n\n"
        assert stream.pending_tokens == 5
        await stream.aclose()

    asyncio.run(read())


def test_all_that_came_is_handed_over_before_the_error() -> None:
    async def read() -> list[str]:
        stream, texts = StepsAhead(Three().steps(Question("q"), ())), []
        with pytest.raises(OSError, match="gone"):
            async for step in stream:
                texts.append(step.text)
        await stream.aclose()
        return texts

    assert asyncio.run(read()) == ["0\n\n", "1\n\n", "2\n\n"]


def test_a_reading_that_is_stopped_leaves_what_it_has() -> None:
    async def endless() -> AsyncIterator[int]:
        number = 0
        while True:
            await asyncio.sleep(0)
            yield (number := number + 1)

    async def read() -> int:
        ahead = ReadAhead(endless())
        assert await anext(ahead) == 1
        for _ in range(10):
            await asyncio.sleep(0)
        await ahead.stop()
        return len(ahead.unread)

    assert asyncio.run(read()) > 5
