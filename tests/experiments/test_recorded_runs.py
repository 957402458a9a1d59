"""Traces that a command is pointed at: whose they are, and of which task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import write_run
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.recorded_runs import Recorded
from trim.policies import AlwaysStrong, AlwaysWeak
from trim.policies.artifacts import Models


def test_folders_and_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "a", [AlwaysWeak()], 3), write_run(tmp_path / "b", [AlwaysStrong()], 2)
    recorded = Recorded.of([first, second / "traces.jsonl"])
    assert [trace.policy for trace in recorded.traces()] == ["always-weak"] * 3 + ["always-strong"] * 2
    assert recorded.models(None) == Models(**identities(Config()))
    assert recorded.task(None) == recorded.task("arithmetic_chain") == "arithmetic_chain"


def test_other_models_and_tasks_are_refused(tmp_path: Path) -> None:
    recorded = Recorded.of([write_run(tmp_path / "a", [], 0)])
    assert recorded.models(Config()) == recorded.models(None)
    other = replace(Config(), weak=replace(Config().weak, model="strong"))
    with pytest.raises(ConfigError, match="different models"):
        recorded.models(other)
    with pytest.raises(ConfigError, match="different tasks: arithmetic_chain, gsm_symbolic"):
        recorded.task("gsm_symbolic")


def test_without_run_json_models_and_task_must_be_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", [AlwaysWeak()], 1)
    (folder / "run.json").unlink()
    recorded = Recorded.of([folder])
    with pytest.raises(ConfigError, match="say with --config"):
        recorded.models(None)
    with pytest.raises(ConfigError, match="say which --task"):
        recorded.task(None)
    assert recorded.task("gsm_symbolic") == "gsm_symbolic"
    assert recorded.models(Config()) == Models(**identities(Config()))
