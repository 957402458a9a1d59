"""Two runs compared: what is outside noise, and what only looks so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.experiments.test_run import POLICIES, evaluate
from tests.metrics.test_curve_summary import _world
from trim.cli.main import main
from trim.metrics.run_comparison import compare_runs
from trim.metrics.tally import Tally


def test_equal_runs_differ_in_nothing() -> None:
    world = _world(np.random.default_rng(0), 200)
    found = compare_runs(world, world)
    assert [row.name for row in found] == [
        "always-weak", "always-strong", "threshold 0.3", "threshold 0.6",
        "threshold at 10%", "threshold at 20%", "threshold at 30%",
    ]  # fmt: skip
    assert all(row.difference.value == 0 and not row.significant and row.difference.count == 200 for row in found)


def test_a_real_difference_is_found_and_noise_is_not() -> None:
    """Of 15 pairs of runs of one world hardly any has a difference called real; one worse by 15 points has."""
    called = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        called += any(row.significant for row in compare_runs(_world(rng, 150), _world(rng, 150)))
    assert called <= 3
    world = _world(np.random.default_rng(1), 300)
    worse = dict(world)
    tally = world["threshold", 0.6]
    right = [int(value and index % 4 > 0) for index, value in enumerate(tally.right)]
    worse["threshold", 0.6] = Tally(tally.questions, right, tally.strong_tokens, tally.cost)
    sure = {row.name for row in compare_runs(world, worse) if row.significant}
    assert "threshold 0.6" in sure
    assert not sure & {"always-weak", "always-strong", "threshold 0.3"}


def test_runs_over_other_questions_are_refused() -> None:
    world = _world(np.random.default_rng(0), 50)
    other = {key: replace(tally, questions=[f"x{q}" for q in tally.questions]) for key, tally in world.items()}
    with pytest.raises(ValueError, match="no operating point in common"):
        compare_runs(world, other)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    evaluate(first, POLICIES)
    evaluate(second, POLICIES)
    assert main(["report", str(first)]) == 0
    assert (first / "report.html").exists()
    assert json.loads((first / "results.json").read_text())["summary"]
    assert main(["report", str(first), str(second)]) == 0
    assert "Significant at the 5% level: nothing." in capsys.readouterr().out
    assert main(["report", str(first), str(second), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["difference"]["mean"] for row in rows} == {0.0}
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no traces.jsonl" in capsys.readouterr().err
