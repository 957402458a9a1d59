"""Trace files: append-only JSONL with a schema version, safe against a kill in the middle of a write.

A line is one `Trace`. A last line without its end is what a kill leaves behind: readers report and skip it, and a
writer cuts it off before it appends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from trim.errors import TraceError
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

SCHEMA = 1


def to_json(trace: Trace) -> dict[str, Any]:
    """A trace as plain JSON values; `from_json` is its inverse."""
    return question_to_json(trace.question) | {
        "schema": SCHEMA,
        "policy": trace.policy,
        "parameter": trace.parameter,
        "seed": trace.seed,
        "correct": trace.correct,
        "answer": trace.answer,
        "stop_reason": trace.stop_reason.value,
        "steps": [_decision_to_json(decision) for decision in trace.decisions],
        "usage": {role.value: _usage_to_json(role, usage) for role, usage in trace.usage.items()},
        "cost": trace.cost,
        "seconds": trace.seconds,
        "phases": {role.value: seconds for role, seconds in trace.phases.items()},
        "fallbacks": [asdict(fallback) for fallback in trace.fallbacks],
        "separator": trace.separator,
    }


def from_json(line: dict[str, Any]) -> Trace:
    """The trace of a JSON line.

    Raises:
        TraceError: another schema version, or a field is missing or malformed.
    """
    if line.get("schema") != SCHEMA:
        raise TraceError(f"trace schema {line.get('schema')!r}; this version of TRIM reads schema {SCHEMA}")
    try:
        return Trace(
            question=question_from_json(line),
            policy=line["policy"],
            parameter=line["parameter"],
            seed=line["seed"],
            decisions=tuple(_decision_from_json(step) for step in line["steps"]),
            stop_reason=StopReason(line["stop_reason"]),
            usage={Role(role): _usage_from_json(values) for role, values in line["usage"].items()},
            cost=line["cost"],
            seconds=line["seconds"],
            phases={Role(role): seconds for role, seconds in line["phases"].items()},
            answer=line["answer"],
            correct=line["correct"],
            fallbacks=tuple(Fallback(Role(f["role"]), f["step"], f["error"], Role(f["to"])) for f in line["fallbacks"]),
            separator=line["separator"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceError(f"not a trace: {type(error).__name__}: {error}") from None


def question_to_json(question: Question) -> dict[str, Any]:
    """A question as plain JSON values, as they stand in a trace."""
    said = {"messages": [asdict(message) for message in question.messages]} if question.messages else {}
    return said | {
        "question_id": question.id,
        "question": question.text,
        "reference": question.reference,
        "reference_steps": list(question.reference_steps),
    }


def question_from_json(line: dict[str, Any]) -> Question:
    """The inverse."""
    return Question(
        line["question"],
        line["reference"],
        line["question_id"],
        tuple(line.get("reference_steps", ())),
        tuple(Message(**message) for message in line.get("messages", ())),
    )


def _step_to_json(step: Step, score: float | None, action: Action) -> dict[str, Any]:
    values: dict[str, Any] = {
        "role": step.role.value,
        "text": step.text,
        "tokens": step.tokens,
        "score": score,
        "action": action.value,
        "finish": step.finish.value,
        "prompt_tokens": step.prompt_tokens,
        "cached_tokens": step.cached_tokens,
    }
    optional = {"logprob": step.logprob, "entropy": step.entropy}
    return values | {key: value for key, value in optional.items() if value is not None}


def _decision_to_json(decision: Decision) -> dict[str, Any]:
    values = _step_to_json(decision.step, decision.score, decision.action)
    values["forced"] = decision.forced
    values["kept_score"] = decision.kept_score
    if decision.attempt:
        values["attempt"] = decision.attempt
    values["rejected"] = [_step_to_json(draft.step, draft.score, draft.action) for draft in decision.rejected]
    return values


def _step_from_json(values: dict[str, Any]) -> Step:
    return Step(
        text=values["text"],
        role=Role(values["role"]),
        tokens=values["tokens"],
        finish=Finish(values["finish"]),
        prompt_tokens=values["prompt_tokens"],
        cached_tokens=values["cached_tokens"],
        logprob=values.get("logprob"),
        entropy=values.get("entropy"),
    )


def _decision_from_json(values: dict[str, Any]) -> Decision:
    return Decision(
        step=_step_from_json(values),
        action=Action(values["action"]),
        score=values["score"],
        kept_score=values["kept_score"],
        forced=values["forced"],
        rejected=tuple(
            Draft(_step_from_json(draft), draft["score"], Action(draft["action"])) for draft in values["rejected"]
        ),
        attempt=values.get("attempt", 0),
    )


def _usage_to_json(role: Role, usage: Usage) -> dict[str, int]:
    values = asdict(usage)
    return values | {"tokens": usage.prompt_tokens} if role is Role.PRM else values


def _usage_from_json(values: dict[str, int]) -> Usage:
    return Usage(**{key: value for key, value in values.items() if key != "tokens"})


@dataclass(frozen=True)
class TornLine:
    """An unfinished last line: where it begins (bytes from the start of the file) and its 1-based number."""

    path: Path
    number: int
    offset: int

    def __str__(self) -> str:
        return f"{self.path}:{self.number}: the last line is torn (a run was killed while writing); it is skipped"


def find_torn_line(path: Path) -> TornLine | None:
    """The unfinished last line of a file, if it has one."""
    number, offset = 0, 0
    with path.open("rb") as file:
        for line in file:
            number += 1
            if not line.endswith(b"\n"):
                return TornLine(path, number, offset)
            offset += len(line)
    return None


def read_traces(path: Path) -> Iterator[Trace]:
    """The traces of a file, one at a time; a torn last line is skipped (see `find_torn_line`).

    Raises:
        TraceError: the file cannot be read, or a whole line is no trace; says which line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                yield _parse(line, f"{path}:{number}")
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from None


def _parse(line: bytes, where: str) -> Trace:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise TraceError(f"{where}: not JSON: {error}") from None
    try:
        return from_json(values if isinstance(values, dict) else {})
    except TraceError as error:
        raise TraceError(f"{where}: {error}") from None


class TraceWriter:
    """Appends traces to a file; what `append` has returned from survives a kill of the process.

    A torn last line left by an earlier kill is cut off when the file is opened; `torn` says so.
    """

    def __init__(self, path: Path) -> None:
        self.torn = find_torn_line(path) if path.exists() else None
        self._file = path.open("ab")
        if self.torn is not None:
            self._file.truncate(self.torn.offset)

    def append(self, trace: Trace) -> None:
        """Write one line."""
        line = json.dumps(to_json(trace), allow_nan=False, separators=(",", ":"))
        self._file.write(line.encode("ascii") + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Flush to the disk and close."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
