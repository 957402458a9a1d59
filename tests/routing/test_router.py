"""The public interface of the step loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.routing.models import (
    PRM,
    STRONG,
    WEAK,
)
from trim.errors import ConfigError
from trim.policies import Threshold
from trim.routing.router import Router
from trim.types import (
    Decision,
    Question,
    Trace,
)


def test_decisions_are_streamed_as_they_are_made() -> None:
    async def scenario() -> list[Decision | Trace]:
        return [item async for item in Router(WEAK, STRONG, PRM, Threshold(0.5)).stream(Question("long question 7"))]

    *decisions, trace = asyncio.run(scenario())
    assert isinstance(trace, Trace)
    assert [replace(d, kept_score=None) for d in trace.decisions] == decisions


def test_a_policy_with_scores_needs_a_prm() -> None:
    with pytest.raises(ConfigError, match="process reward model"):
        Router(WEAK, STRONG, None, Threshold(0.5))
