"""Summaries of whole curves, recomputed from the traces."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.experiments.test_run import POLICIES, evaluate
from trim.metrics.curve_summary import summarise
from trim.metrics.tally import Tally
from trim.policies import AlwaysWeak, Threshold
from trim.reporting.tables import summary_table


def test_the_summary_agrees_with_the_traces(tmp_path: Path) -> None:
    """CPT50 and delta-IBC of threshold once more, straight from traces.jsonl."""
    run = evaluate(tmp_path, POLICIES)
    summary = {row["policy"]: row for row in json.loads(run.write_results().read_text())["summary"]}
    assert set(summary) == {"random", "threshold"}
    lines = [json.loads(line) for line in run.traces.read_text().splitlines()]

    def figures(policy: str, parameter: float | None) -> tuple[float, float]:
        chosen = [line for line in lines if (line["policy"], line["parameter"]) == (policy, parameter)]
        right = sum(line["correct"] for line in chosen) / len(chosen)
        return right, sum(line["usage"]["strong"]["completion_tokens"] for line in chosen) / len(chosen)

    (weak, _), (strong, full) = figures("always-weak", None), figures("always-strong", None)
    points = [(0.0, 0.0)]
    for k in (0.3, 0.6):
        right, tokens = figures("threshold", k)
        points.append((tokens / full, (right - weak) / (strong - weak)))
    (c0, p0), (c1, p1) = next((a, b) for a, b in pairwise(points) if b[1] >= 0.5)
    found = summary["threshold"]
    assert found["cpt50"] == pytest.approx(c0 + (0.5 - p0) / (p1 - p0) * (c1 - c0))
    assert found["delta_ibc_best"] == pytest.approx(max(p / c - 1 for c, p in points[1:]))
    assert found["cpt50_interval"][0] <= found["cpt50"] <= found["cpt50_interval"][1]
    assert set(found["budgeted_accuracy"]) == {"10", "15", "20", "25", "30"}
    assert found["budgeted_accuracy"]["30"] >= found["budgeted_accuracy"]["10"] >= weak
    assert set(found) == {
        f"{name}{end}"
        for name in (
            "cpt50", "cpt80", "cpt95", "apgr", "delta_ibc", "delta_ibc_best", "budgeted_accuracy", "aiq",
            "cost_per_correct",
        )
        for end in ("", "_interval")
    } | {"policy", "questions"}  # fmt: skip


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """200 runs of 400 questions on a world with a known CPT50: the 95% interval holds it 95% of the time."""
    rng, covered = np.random.default_rng(1), 0
    truth = 0.1 + (0.5 - 0.4) / (0.6 - 0.4) * 0.2  # points at share 0.1 (PGR 0.4) and 0.3 (PGR 0.6)
    worlds = 200
    for _ in range(worlds):
        found = summarise(_world(rng, 400), draws=200)[0].cpt[50]
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / worlds <= 0.99


def _world(rng: np.random.Generator, count: int) -> dict[tuple[str, float | None], Tally]:
    hardness = rng.random(count)
    drawn: dict[tuple[str, float | None], Tally] = {}
    for key, accuracy, share in (
        (("always-weak", None), 0.3, 0.0),
        (("always-strong", None), 0.8, 1.0),
        (("threshold", 0.3), 0.5, 0.1),
        (("threshold", 0.6), 0.6, 0.3),
    ):
        tokens = share * rng.gamma(4, 25, count)
        right = [int(value) for value in hardness + rng.normal(0, 0.05, count) < accuracy]
        drawn[key] = Tally([str(i) for i in range(count)], right, list(tokens), [0.0] * count)
    return drawn


def test_not_reached_is_a_value(tmp_path: Path) -> None:
    world = _world(np.random.default_rng(2), 200)
    found = summarise(world)[0]
    assert (found.cpt[95].value, found.cpt[95].high) == (np.inf, np.inf)
    assert found.cost_per_correct.json_value is None
    console = Console(width=100, record=True, file=(tmp_path / "table.txt").open("w"))
    console.print(summary_table([found]))
    console.file.close()
    row = next(line for line in console.export_text().splitlines() if "threshold" in line)
    assert row.count("none") == 4  # CPT80, CPT95, its interval, and the cost there
    json.dumps(found.to_json(), allow_nan=False)


def test_a_run_without_ends_or_gap_has_no_summary(tmp_path: Path) -> None:
    assert summarise(evaluate(tmp_path / "a", [AlwaysWeak(), Threshold(0.5)]).tallies) == []
    world = _world(np.random.default_rng(3), 50)
    world["always-strong", None], world["always-weak", None] = world["always-weak", None], world["always-strong", None]
    assert summarise(world) == []
    world["threshold", 0.3] = Tally(["another question"], [True], [0.0], [0.0])
    assert summarise(world) == []
