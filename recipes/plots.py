"""Plots for docs/explanation/models.md: learning curves, and reliability diagrams of the judges' scores.

    python -m recipes.plots      # reads recipes/results, writes docs/img/learning.png and reliability.png

The logs of the runs that made the shipped models are kept in recipes/results/runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recipes.evaluate import RESULTS
from recipes.pretrain import RUNS
from trim.tasks import FAMILIES

_IMAGES = Path("docs/img")
_STYLES = dict(zip(FAMILIES, (("#0072B2", "o", "-"), ("#E69F00", "s", "--"), ("#009E73", "^", ":")), strict=True))


def _read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RESULTS / "runs" / f"{name}.jsonl").read_text().splitlines()]


def learning() -> Figure:
    """Held-out loss of each language model by task over its last stage."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, len(RUNS), sharey=True)
    for name, plot in zip(RUNS, axes, strict=True):
        rows = _read(name)
        for task, (colour, marker, line) in _STYLES.items():
            x = [row["tokens"] / 1e6 for row in rows]
            y = [row["held_out_loss"][task] for row in rows]
            plot.plot(x, y, color=colour, linestyle=line, marker=marker, markersize=3, label=task)
        plot.set_yscale("log")
        plot.set_title(name)
        plot.set_xlabel("million tokens")
        plot.grid(alpha=0.25)
    axes[0].set_ylabel("held-out loss, nats per token")
    axes[0].legend(frameon=False)
    return figure


def reliability() -> Figure:
    """Share of right steps by score, and how many steps have such a score."""
    found = json.loads((RESULTS / "scorers.json").read_text())["reliability"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    grid = figure.subplots(2, len(found), sharex=True, height_ratios=(3, 1), squeeze=False)
    for column, (name, tasks) in enumerate(found.items()):
        above, below = grid[0][column], grid[1][column]
        above.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        for task, rows in tasks.items():
            _curve(above, below, task, rows)
        above.set_title(name)
        below.set_yscale("log")
        below.set_xlabel("score")
    grid[0][0].set_ylabel("share of steps that are right")
    grid[1][0].set_ylabel("steps")
    grid[0][0].legend(frameon=False)
    return figure


def _curve(above: Axes, below: Axes, task: str, rows: list[dict[str, float]]) -> None:
    colour, marker, line = _STYLES[task]
    x = [row["score"] for row in rows]
    above.plot(x, [row["right"] for row in rows], color=colour, marker=marker, linestyle=line, label=task)
    below.plot(x, [row["steps"] for row in rows], color=colour, marker=marker, linestyle=line)


def main() -> None:
    """Write both plots as PNG files."""
    _IMAGES.mkdir(exist_ok=True)
    for name, figure in (("learning", learning()), ("reliability", reliability())):
        FigureCanvasAgg(figure)
        figure.savefig(_IMAGES / f"{name}.png", dpi=90)


if __name__ == "__main__":
    main()
