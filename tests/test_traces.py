"""Trace files keep what was said before a question."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trim.policies import Threshold
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.traces import TraceWriter, read_traces
from trim.types import Message, Question, Role


def test_a_conversation_comes_back_from_the_file(tmp_path: Path) -> None:
    question = Question("And 2 + 2?", messages=(Message("user", "1 + 1?"), Message("assistant", "2")))
    router = Router(SimulatedModel(Role.WEAK, 0.8), SimulatedModel(Role.STRONG, 0.95), SimulatedPrm(), Threshold(0.5))
    trace = asyncio.run(router.route(question))
    with TraceWriter(tmp_path / "traces.jsonl") as writer:
        writer.append(trace)
    assert list(read_traces(tmp_path / "traces.jsonl")) == [trace]
