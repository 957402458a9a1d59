"""Learning curves of `trim train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from trim.errors import ConfigError

Row = dict[str, Any]
"""A line of metrics.jsonl; see `trim.training.ppo.UpdateMetrics`."""


def read_metrics(path: Path) -> list[Row]:
    """All lines.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def best(rows: Sequence[Row]) -> Row:
    """The row whose validation the policy was chosen by."""
    return max((row for row in rows if row["validation"]), key=lambda row: float(row["validation"]["value"]))


def curves(rows: Sequence[Row], alone: float) -> Figure:
    """Reward and validation value, accuracy, strong share and entropy over episodes.

    Args:
        rows: of metrics.jsonl.
        alone: tokens a question of the strong model alone.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    reward, accuracy, share, entropy = figure.subplots(2, 2, sharex=True).flat
    episodes = [row["episodes"] for row in rows]
    reward.plot(episodes, [row["reward"] for row in rows], color="#56B4E9", label="training")
    checked = [row for row in rows if row["validation"]]
    values = [row["validation"]["value"] for row in checked]
    reward.plot([row["episodes"] for row in checked], values, color="#0072B2", marker="o", label="validation, greedy")
    accuracy.plot(episodes, [row["accuracy"] for row in rows], color="#009E73")
    share.plot(episodes, [row["strong_tokens"] / alone for row in rows], color="#D55E00")
    entropy.plot(episodes, [row["losses"]["entropy"] for row in rows], color="#CC79A7")
    for axes, title in (
        (reward, "correct - price x tokens"),
        (accuracy, "questions answered correctly"),
        (share, "strong tokens, share of the strong model alone"),
        (entropy, "entropy of the actions (nats)"),
    ):
        axes.set_title(title)
        axes.grid(alpha=0.25)
    for axes in (share, entropy):
        axes.set_xlabel("episodes")
    reward.legend(loc="lower right")
    return figure
