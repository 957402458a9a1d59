"""Warnings that repeat are counted; what is seldom, and what is no warning, is written."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest

from trim.server import log_limit
from trim.server.log_limit import BURST, limited_log

logger = logging.getLogger("test.limited")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream, root = io.StringIO(), logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(root, "level", logging.INFO)
    return stream


def test_a_flood_is_a_few_lines_and_a_sum(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_limit, "WINDOW", 0.05)

    async def flood() -> list[str]:
        async with limited_log():
            for number in range(5_000):
                logger.warning("bad request %d\nof one", number)
            logger.error("something else")
            for number in range(BURST + 5):
                logger.info("request %d", number)
            await asyncio.sleep(0.1)
            logger.warning("again")
            return written.getvalue().splitlines()

    lines = asyncio.run(flood())
    assert sum(line.startswith("bad request") for line in lines) == BURST
    assert f"{5_000 - BURST} more like this were not written: bad request 4999 of one" in lines
    assert "something else" in lines
    assert sum(line.startswith("request") for line in lines) == BURST + 5
    assert lines[-1] == "again"


def test_what_was_left_out_at_the_end_is_summed_up(written: io.StringIO) -> None:
    async def flood() -> None:
        async with limited_log():
            for _ in range(BURST + 7):
                logger.error("broken")

    asyncio.run(flood())
    assert written.getvalue().splitlines()[-1] == "7 more like this were not written: broken"
    logger.warning("no limit any more")
    assert not logging.getLogger().handlers[0].filters
