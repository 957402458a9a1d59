"""Labelled solutions: ProcessBench's files, and runs whose task labels steps by rule."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.cli.conftest import write_run
from tests.pomdp.fit.recorded import as_chain, record
from trim.errors import ConfigError, TraceError
from trim.experiments.labelled_solutions import LabelledSolution, labelled_solutions, read_processbench
from trim.experiments.run import Settings
from trim.policies import AlwaysWeak


def test_processbench_lines_are_read_and_others_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"problem": "p", "steps": ["a", "b"], "label": 1, "id": "x"}\n\n')
    assert read_processbench(file) == labelled_solutions(file) == [LabelledSolution("p", ("a", "b"), 1)]
    for text in ('{"problem": "p", "steps": ["a"]}', "[]", "{"):
        file.write_text(text)
        with pytest.raises(TraceError, match="not in ProcessBench's format"):
            read_processbench(file)


def test_a_run_is_labelled_by_its_task_each_text_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [AlwaysWeak(), AlwaysWeak(uses_scores=True)], 30)
    found = labelled_solutions(folder)
    chains = [as_chain(trace) for trace in record(AlwaysWeak(), 30)]
    assert len(found) == len({(trace.question.text, trace.text) for trace in chains}) == 30
    for solution, trace in zip(found, chains, strict=True):
        wrong = [index for index, step in enumerate(trace.steps) if "slip" in step.text or "wrong" in step.text]
        assert solution.label == (wrong[0] if wrong else -1)


def test_runs_without_rule_or_solutions_are_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [], 0)
    with pytest.raises(TraceError, match="has no solutions"):
        labelled_solutions(folder)
    (folder / "run.json").write_text(json.dumps(asdict(Settings("mine.jsonl", 1, 0, {}, {}))))
    with pytest.raises(ConfigError, match="no rule that says which steps are right"):
        labelled_solutions(folder)
