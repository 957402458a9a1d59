"""Lines of schema 1 are read to the same values, under the names of today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trim.traces import read_traces
from trim.types import Action, Fallback, Message, Role, Step, Trace

SCHEMA_1 = Path(__file__).parent / "data" / "traces_schema_1.jsonl"
"""Lines of `trim eval` as of f3c996d; the last also has a conversation, a fallback and a forced decision."""


def test_lines_of_schema_1_are_read_under_the_names_of_today() -> None:
    lines = [json.loads(text) for text in SCHEMA_1.read_text().splitlines()]
    traces = list(read_traces(SCHEMA_1))
    assert [t.policy for t in traces] == [
        "always-weak", "always-strong", "threshold+2", "threshold+revise", "pomdp", "threshold+2",
    ]  # fmt: skip
    for line, trace in zip(lines, traces, strict=True):
        assert trace.question.text == line["question"]
        assert (trace.question.id, trace.question.reference) == (line["question_id"], line["reference"])
        assert list(trace.question.reference_steps) == line["reference_steps"]
        assert trace.stop_reason.value == line["stop_reason"]
        for key in ("parameter", "seed", "cost", "seconds", "answer", "correct"):
            assert getattr(trace, key) == line[key]
        assert trace.text == line["separator"].join(step["text"] for step in line["steps"])
        assert {role.value: seconds for role, seconds in trace.phases.items()} == line["phases"]
        for role, used in trace.usage.items():
            for key in ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "discarded_tokens"):
                assert getattr(used, key) == line["usage"][role][key]
        assert len(trace.decisions) == len(line["steps"])
        for decision, old in zip(trace.decisions, line["steps"], strict=True):
            assert (decision.forced, decision.attempt) == (old["forced"], old.get("attempt", 0))
            assert (decision.score, decision.kept_score) == (old["score"], old["kept_score"])
            assert decision.action.value == old["action"]
            same_step(decision.step, old)
            assert len(decision.rejected) == len(old["rejected"])
            for draft, was in zip(decision.rejected, old["rejected"], strict=True):
                same_step(draft.step, was)
                assert draft.score == was["score"]


def same_step(step: Step, old: dict[str, Any]) -> None:
    assert step.role.value == old["author"]
    assert step.finish.value == old["finish"]
    assert step.content == old["text"]
    for key in ("tokens", "prompt_tokens", "cached_tokens"):
        assert getattr(step, key) == old[key]
    assert (step.logprob, step.entropy) == (old.get("logprob"), old.get("entropy"))


def test_rejections_of_schema_1_have_the_actions_of_today() -> None:
    _, strong, resampled, revised, _, talked = read_traces(SCHEMA_1)
    assert {decision.action for decision in strong.decisions} == {Action.TAKE_OVER}

    def rejections(trace: Trace) -> set[tuple[Role, Action]]:
        return {(draft.step.role, draft.action) for decision in trace.decisions for draft in decision.rejected}

    assert rejections(resampled) == {(Role.WEAK, Action.RESAMPLE), (Role.WEAK, Action.REGENERATE)}
    assert rejections(revised) == {(Role.WEAK, Action.REGENERATE), (Role.STRONG, Action.REVISE)}
    assert talked.question.messages == (Message("user", "1 + 1?"), Message("assistant", "2"))
    assert talked.fallbacks == (Fallback(Role.PRM, 1, "prm: no answer", Role.STRONG),)
    assert (talked.decisions[-1].forced, talked.decisions[-1].attempt) == (True, 1)
