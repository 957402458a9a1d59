"""Traces of requests, for the commands that read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.gateway import ask, serving, simulated
from trim.traces import read_traces
from trim.types import Role, Trace


def test_traces_are_recorded_and_rotate(tmp_path: Path) -> None:
    with serving(simulated(record=str(tmp_path / "traces"), record_mb=0.004)) as served:
        replies = []
        for i in range(6):
            served.post(ask(f"q{i}", seed=i, stream=True))
            replies.append(served.post(ask(f"q{i}", seed=i)).json()["choices"][0]["message"]["content"])
    files = sorted((tmp_path / "traces").iterdir())
    assert len(files) > 1
    traces = [trace for file in files for trace in read_traces(file)]
    assert len(traces) == 12
    assert [trace.text for trace in traces[1::2]] == replies
    assert max(file.stat().st_size for file in files) < 4_000 + max(len(str(trace)) for trace in traces) * 4


def test_a_hook_may_rewrite_or_drop_traces(tmp_path: Path) -> None:
    def redact(trace: Trace) -> Trace | None:
        return None if "secret" in trace.question.text else replace(trace, question=replace(trace.question, text="-"))

    with serving(simulated(record=str(tmp_path)), redact) as served:
        for text in ("secret", "open"):
            served.post(ask(text))
    (file,) = tmp_path.iterdir()
    assert [trace.question.text for trace in read_traces(file)] == ["-"]


def test_what_the_traces_measured_is_what_the_gateway_billed(tmp_path: Path) -> None:
    with serving(simulated(record=str(tmp_path))) as served:
        billed = [served.post(ask(f"hard {n}", seed=n)).json()["trim"]["cost"] for n in range(6)]
        spent = served.spent(6)
    traces = [trace for file in sorted(tmp_path.iterdir()) for trace in read_traces(file)]
    assert [trace.measured_cost for trace in traces] == pytest.approx(billed)
    assert sum(billed) == pytest.approx(spent.cost)
    tokens = [trace.measured[Role.STRONG].completion_tokens for trace in traces]
    assert sum(tokens) == spent.strong_tokens


def test_an_abandoned_answer_is_charged_and_not_recorded(tmp_path: Path) -> None:
    with serving(simulated(record=str(tmp_path))) as served:
        served.post(ask("hard 7", seed=5, stop="Step 2"))
        assert served.spent(1).cost > 0
    assert not list(tmp_path.iterdir())
