"""The summary agrees with figures that are computed independently of it, from the traces alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.experiments.test_run import evaluate
from tests.metrics.recompute import differences
from trim.cli.main import main
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.protocols import Policy

POLICIES: list[Policy] = [
    AlwaysWeak(),
    AlwaysStrong(),
    *map(RandomSteps, (0.2, 0.5, 1.0)),
    *map(Threshold, (0.2, 0.5, 0.9)),
]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated models, two samples of each of 80 questions."""
    folder = tmp_path_factory.mktemp("sampled")
    evaluate(folder, POLICIES, questions=80, samples=2).write_results()
    return folder


def test_a_run_with_samples_agrees(sampled: Path) -> None:
    assert differences(sampled) == []


def test_a_run_of_the_shipped_models_agrees(tmp_path: Path) -> None:
    policies = "always-weak,always-strong,threshold"
    command = ["eval", "--questions", "16", "--policies", policies, "--parameters", "threshold=0.2,0.9"]
    assert main([*command, "--out", str(tmp_path), "--json"]) == 0
    assert differences(tmp_path) == []


@pytest.mark.parametrize("name", ["cpt50", "apgr", "delta_ibc", "delta_ibc_best", "budget20"])
def test_a_wrong_figure_or_interval_would_be_seen(sampled: Path, tmp_path: Path, name: str) -> None:
    results = json.loads((sampled / "results.json").read_text())
    row = next(row for row in results["summary"] if row["policy"] == "threshold")
    within, key = (row, name) if name in row else (row["budgeted_accuracy"], "20")
    intervals, end = (row, f"{name}_interval") if name in row else (row["budgeted_accuracy_interval"], "20")
    low, high = intervals[end]
    within[key] *= 1.0001
    intervals[end] = [low + 0.25 * (high - low), high]  # about the 15th percentile for the lower end
    (tmp_path / "traces.jsonl").symlink_to(sampled / "traces.jsonl")
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert [text.partition(":")[0] for text in differences(tmp_path)] == [f"threshold {name}"] * 2
