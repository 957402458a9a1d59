"""Large work runs beside the event loop, small work at once; cancelling waits for what runs."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from trim.off_loop import LARGE, off_loop


def test_small_work_is_done_at_once_and_large_work_in_a_thread() -> None:
    assert asyncio.run(off_loop(LARGE - 1, threading.get_ident)) == threading.get_ident()
    assert asyncio.run(off_loop(LARGE, threading.get_ident)) != threading.get_ident()


def test_the_loop_turns_while_large_work_runs() -> None:
    async def run() -> int:
        turns, work = 0, asyncio.create_task(off_loop(LARGE, time.sleep, 0.1))
        while not work.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    assert asyncio.run(run()) > 10


@pytest.mark.parametrize("size", [0, LARGE])
def test_errors_are_the_callers(size: int) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(off_loop(size, int, "x"))


def test_a_cancelled_caller_leaves_when_nothing_runs_any_more() -> None:
    begun, ended = threading.Event(), list[bool]()

    def work() -> None:
        begun.set()
        time.sleep(0.1)
        ended.append(True)

    async def run() -> None:
        running = asyncio.create_task(off_loop(LARGE, work))
        waiting = asyncio.create_task(off_loop(LARGE, work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not ended  # what had not begun is not waited for
        for _ in range(2):
            running.cancel()
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ended == [True]

    asyncio.run(run())
    assert asyncio.run(off_loop(LARGE, len, ended)) == 1  # and never begins
