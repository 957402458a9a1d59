"""Solutions whose first wrong step is known: ProcessBench's files, and runs of tasks with a rule for steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trim.errors import ConfigError, TraceError
from trim.experiments.recorded_runs import Recorded
from trim.json_files import parse_json
from trim.tasks import FAMILIES


@dataclass(frozen=True)
class LabelledSolution:
    """A line of ProcessBench: `label` is the index of the first wrong step, -1 if there is none."""

    problem: str
    steps: tuple[str, ...]
    label: int


def read_processbench(path: Path) -> list[LabelledSolution]:
    """Solutions in ProcessBench's format, JSONL with problem, steps and label.

    Raises:
        TraceError: the file cannot be read or has another format.
    """
    expected, found = "not in ProcessBench's format, problem, steps, label", []
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise TraceError.reading(path, expected, error) from None
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                row = parse_json(line)
                steps, label = row["steps"], row["label"]
                if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
                    raise ValueError("steps is no list of texts")
                if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
                    raise ValueError(f"label is {label!r}, not the index of a step or -1")
                found.append(LabelledSolution(str(row["problem"]), tuple(steps), label))
        except (ValueError, KeyError, TypeError) as error:
            raise TraceError.reading(f"{path}:{number}", expected, error) from None
    return found


def labelled_solutions(path: Path) -> list[LabelledSolution]:
    """Those of a ProcessBench file, or of a run, labelled by its task's rule, each text once.

    Raises:
        ConfigError: the run's task has no rule for steps.
        TraceError: the file cannot be read, or there are no solutions.
    """
    if path.suffix == ".jsonl" and path.name != "traces.jsonl":
        return read_processbench(path)
    recorded = Recorded.of([path])
    name = recorded.task(None)
    family = FAMILIES.get(name.partition(":")[0])
    if family is None:
        raise ConfigError(f"task {name} has no rule that says which steps are right; give ProcessBench-format JSONL")
    found: dict[LabelledSolution, None] = {}
    for trace in recorded.traces():
        steps = tuple(step.content for step in trace.steps)
        labels = family.step_labels(trace.question, steps)
        if steps:
            found[LabelledSolution(trace.question.text, steps, labels.index(False) if False in labels else -1)] = None
    if not found:
        raise TraceError(f"{path} has no solutions")
    return list(found)
