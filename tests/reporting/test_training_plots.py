"""Learning curves, from the rows of a training."""

from __future__ import annotations

from trim.reporting.training_plots import best, curves


def test_curves_need_no_torch() -> None:
    losses = {"entropy": 0.5}
    metrics = [
        {
            "episodes": 10 * i,
            "reward": 0.1 * i,
            "accuracy": 0.5,
            "strong_tokens": 30.0,
            "losses": losses,
            "validation": v,
        }
        for i, v in enumerate((None, {"value": 0.3}, None, {"value": 0.2}))
    ]
    assert best(metrics)["episodes"] == 10
    assert len(curves(metrics, 100.0).axes) == 4
