"""Trace files: what is written comes back, what an earlier version wrote too, and what is broken is named."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trim.errors import TraceError
from trim.policies import Threshold
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm
from trim.traces import TraceWriter, from_json, question_from_json, question_to_json, read_traces, to_json
from trim.types import (
    Action,
    Decision,
    Draft,
    Fallback,
    Finish,
    Message,
    Question,
    Role,
    Step,
    StopReason,
    Trace,
    Usage,
)

SCHEMA_1 = Path(__file__).parent / "data" / "traces_schema_1.jsonl"

TRACE = Trace(
    question=Question(
        "And 2 + 2?", "4", "q1", ("4",), (Message("user", "1 + 1?"), Message("assistant", "2 \N{GRINNING FACE}"))
    ),
    policy="threshold+revise+2",
    parameter=0.1 + 0.2,
    seed=-(2**63),
    decisions=(
        Decision(
            Step("4\n", Role.STRONG, 7, Finish.EOS, 20, 3, -0.25, 1e-300),
            Action.REGENERATE,
            score=1 / 3,
            kept_score=0.9,
            forced=True,
            rejected=(
                Draft(Step("5", Role.WEAK, 1), 0.1, Action.RESAMPLE),
                Draft(Step("", Role.STRONG, 2, Finish.LENGTH), None, Action.REVISE),
            ),
            attempt=1,
        ),
    ),
    stop_reason=StopReason.EOS,
    usage={role: Usage(1, 2, 3, 4, 5) for role in Role},
    cost=1.5e-7,
    seconds=2.0,
    phases={Role.WEAK: 0.5, Role.STRONG: 0.0, Role.PRM: 0.25},
    answer="4",
    correct=True,
    fallbacks=(Fallback(Role.PRM, 0, "no answer", Role.STRONG),),
)


def written(folder: Path, *traces: Trace) -> Path:
    path = folder / "traces.jsonl"
    with TraceWriter(path) as writer:
        for trace in traces:
            writer.append(trace)
    return path


def routed(question: Question) -> Trace:
    router = Router(SimulatedModel(Role.WEAK, 0.8), SimulatedModel(Role.STRONG, 0.95), SimulatedPrm(), Threshold(0.5))
    return asyncio.run(router.route(question))


def test_every_field_comes_back_exactly(tmp_path: Path) -> None:
    real = routed(Question("And 2 + 2?", messages=(Message("user", "1 + 1?"), Message("assistant", "2"))))
    assert list(read_traces(written(tmp_path, TRACE, real))) == [TRACE, real]
    assert from_json(json.loads(json.dumps(to_json(TRACE)))) == TRACE
    assert question_from_json(json.loads(json.dumps(question_to_json(TRACE.question)))) == TRACE.question


def test_a_line_has_the_names_of_the_types(tmp_path: Path) -> None:
    line = json.loads(written(tmp_path, TRACE).read_text())
    assert line == to_json(TRACE)
    assert line["schema"] == 3
    assert line["question"]["messages"][0] == {"role": "user", "text": "1 + 1?"}
    assert line["decisions"][0]["step"]["role"] == "strong"
    assert line["decisions"][0]["rejected"][1]["action"] == "REVISE"
    assert line["usage"]["prm"] == {
        "calls": 1, "prompt_tokens": 2, "cached_tokens": 3, "completion_tokens": 4, "discarded_tokens": 5,
        "estimated": False,
    }  # fmt: skip


def test_text_that_utf_8_cannot_write_comes_back(tmp_path: Path) -> None:
    half = replace(TRACE, question=Question("half a pair: \ud83d"))
    assert list(read_traces(written(tmp_path, half, TRACE))) == [half, TRACE]


def test_a_run_of_an_earlier_version_goes_on_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_bytes(SCHEMA_1.read_bytes() + b'{"schema":1,"ques')
    with TraceWriter(path) as writer:
        assert writer.torn is not None
        assert writer.torn.number == 7
        writer.append(TRACE)
    assert list(read_traces(path)) == [*read_traces(SCHEMA_1), TRACE]


def test_steps_of_schema_2_get_the_separator_that_stood_between_them() -> None:
    first, last = Decision(Step("a", Role.WEAK, 2), Action.CONTINUE), TRACE.decisions[0]
    line = to_json(replace(TRACE, decisions=(first, last))) | {"schema": 2, "separator": "\n"}
    assert [step.text for step in from_json(line).steps] == ["a\n", "4\n"]
    assert from_json(line | {"separator": "\n\n"}).text == "a\n\n4\n"
    assert from_json(line).decisions[1] == last


def broken(*keys: str | int, value: object = None) -> str:
    """The line with one field gone (no value) or wrong."""
    line = to_json(TRACE)
    inner: Any = line
    for key in keys[:-1]:
        inner = inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return json.dumps(line, separators=(",", ":"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("3", "trace schema None; this version of TRIM reads schemas 1 to 3"),
        ('{"schema":4}', "trace schema 4; this version of TRIM reads schemas 1 to 3"),
        ('{"schema":1,"question":"x"}', "not a trace of schema 1: KeyError"),
        ('{"schema":1,"question":3,"steps":4}', "not a trace of schema 1"),
        (broken("decisions"), "not a trace: decisions: "),
        (broken("question", "text"), "not a trace: question.text: "),
        (broken("decisions", 0, "action", value="RETRY"), "not a trace: decisions.0.action: input should be"),
        (broken("usage", "weak", "calls", value="many"), "not a trace: usage.weak.calls: "),
        (broken("question", "messages", 0, "role", value="tool"), "not a trace: question.messages.0.role: "),
    ],
)
def test_a_line_that_is_not_a_trace_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, TRACE)
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    traces = read_traces(path)
    assert next(traces) == TRACE
    with pytest.raises(TraceError) as caught:
        next(traces)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        list(read_traces(tmp_path / "none.jsonl"))
