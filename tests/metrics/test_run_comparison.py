"""Two runs compared: real differences are significant, chance differences are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.test_curve_summary import _world
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
