"""Trace files: append-only JSONL with a schema version, safe against a kill in the middle of a write.

A line is one `Trace`. A last line without its end is what a kill leaves behind: readers report and skip it, and a
writer cuts it off before it appends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from trim.atomic import LineFile
from trim.errors import TraceError
from trim.json_files import first_problem, parse_json
from trim.trace_schema_1 import translated
from trim.types import Question, Role, Trace

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

SCHEMA = 3
_HEAD = b'{"schema":3,'  # of every line that a `TraceWriter` writes
_MOST = 1 << 53  # tokens, seconds or money; beyond it sums are no longer exact
_LONGEST_NAME = 1_000  # characters of a policy's name


def to_json(trace: Trace) -> dict[str, Any]:
    """A trace as plain JSON values, under the names of `trim.types`; `from_json` is its inverse."""
    return {"schema": SCHEMA, **_traces().dump_python(trace, mode="json")}


def from_json(line: dict[str, Any]) -> Trace:
    """The trace of a JSON line, of this schema or of an earlier one.

    Raises:
        TraceError: another schema version, or a field is missing or malformed.
    """
    schema = line.get("schema")
    if schema == 1:
        try:
            line = translated(line)
        except (KeyError, TypeError, AttributeError) as error:
            raise TraceError(f"not a trace of schema 1: {type(error).__name__}: {str(error)[:200]}") from None
    elif schema not in (2, SCHEMA) or isinstance(schema, float):
        raise TraceError(f"trace schema {repr(schema)[:60]}; this version of TRIM reads schemas 1 to {SCHEMA}")
    trace = _sound(_read(_traces(), line, "trace"))
    if schema == SCHEMA:
        return trace
    separator = line.get("separator", "\n\n")
    if not isinstance(separator, str):
        raise TraceError(f"trace: separator {repr(separator)[:60]} is not a text")
    return _with_separators(trace, separator)


def _with_separators(trace: Trace, separator: str) -> Trace:
    """The trace of an earlier schema, whose steps stood without white space around them and were joined by this."""
    between = (replace(d, step=replace(d.step, text=d.step.text + separator)) for d in trace.decisions[:-1])
    return replace(trace, decisions=(*between, *trace.decisions[-1:]))


def question_to_json(question: Question) -> dict[str, Any]:
    """A question as plain JSON values, as they stand in a trace."""
    values: dict[str, Any] = _questions().dump_python(question, mode="json")
    return values


def question_from_json(values: dict[str, Any]) -> Question:
    """The inverse.

    Raises:
        TraceError: a field is missing or malformed.
    """
    return _read(_questions(), values, "question")


@cache
def _traces() -> TypeAdapter[Trace]:
    """Reads and writes traces as JSON. Made on first use: that takes as long as reading a hundred of them."""
    from pydantic import TypeAdapter

    return TypeAdapter(Trace)


@cache
def _questions() -> TypeAdapter[Question]:
    from pydantic import TypeAdapter

    return TypeAdapter(Question)


def _read(codec: TypeAdapter[T], values: dict[str, Any], what: str) -> T:
    from pydantic import ValidationError

    try:
        return codec.validate_python(values)
    except ValidationError as error:
        raise TraceError(f"not a {what}: {first_problem(error)}") from None


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
        TraceError: the file cannot be read, or a whole line is not a trace; says which line.
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
    if line.startswith(_HEAD):
        try:
            trace = _traces().validate_json(line)
        except ValueError:
            pass  # what is wrong, the slower way below says
        else:
            return _located(trace, where)
    try:
        values = parse_json(line)
    except ValueError as error:
        raise TraceError(f"{where}: not JSON: {error}") from None
    try:
        return from_json(values if isinstance(values, dict) else {})
    except TraceError as error:
        raise TraceError(f"{where}: {error}") from None


def _located(trace: Trace, where: str) -> Trace:
    try:
        return _sound(trace)
    except TraceError as error:
        raise TraceError(f"{where}: {error}") from None


def _sound(trace: Trace) -> Trace:
    """The trace, if everything that counts it can rely on its numbers and names.

    Raises:
        TraceError: a usage is missing, a number is not finite or out of range, or the policy's name is none.
    """
    for name, used in (("usage", trace.usage), ("measured", trace.measured)):
        if (used or name == "usage") and (missing := [role.value for role in Role if role not in used]):
            raise TraceError(f"not a trace: {name}: it has no {missing[0]!r}")
    if not trace.policy.isprintable() or not 0 < len(trace.policy) <= _LONGEST_NAME:
        raise TraceError(f"not a trace: policy: no name of one: {trace.policy[:_LONGEST_NAME]!r}")
    counts = [
        count
        for usage in (*trace.usage.values(), *trace.measured.values())
        for count in (
            usage.calls,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            usage.discarded_tokens,
        )
    ]
    measures: list[float | None] = [
        trace.cost,
        trace.measured_cost,
        trace.seconds,
        trace.parameter,
        *trace.phases.values(),
    ]
    for decision in trace.decisions:
        counts.append(decision.attempt)
        measures += (decision.score, decision.kept_score)
        for step, score in ((decision.step, None), *((draft.step, draft.score) for draft in decision.rejected)):
            counts += (step.tokens, step.prompt_tokens, step.cached_tokens)
            measures += (step.logprob, step.least_logprob, step.entropy, score)
            measures += (step.mean_entropy, step.most_entropy, step.uncertain)
    for count in counts:
        if not 0 <= count <= _MOST:
            raise TraceError(f"not a trace: a count of {str(count)[:20]} is out of range")
    for measure in measures:
        if measure is not None and not -_MOST <= measure <= _MOST:
            raise TraceError(f"not a trace: a number is {measure}, not finite or out of range")
    if not -(1 << 63) <= trace.seed < 1 << 63:
        raise TraceError(f"not a trace: seed: {str(trace.seed)[:20]} has more than 64 bits")
    return trace


def _line(trace: Trace) -> bytes:
    try:
        return _HEAD + _traces().dump_json(trace)[1:] + b"\n"
    except ValueError:  # half of a surrogate pair, which a model may write and UTF-8 cannot
        return json.dumps(to_json(trace), separators=(",", ":")).encode("ascii") + b"\n"


class TraceWriter:
    """Appends traces to a file; what `append` has returned from survives a kill of the process.

    A torn last line left by an earlier kill is cut off when the file is opened; `torn` says so.
    """

    def __init__(self, path: Path) -> None:
        self.torn = find_torn_line(path) if path.exists() else None
        self._file = LineFile(path, None if self.torn is None else self.torn.offset)

    def append(self, trace: Trace) -> None:
        """Write one line, whole or not at all."""
        self._file.append(_line(trace))

    def close(self) -> None:
        """Flush to the disk and close."""
        self._file.close()

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
