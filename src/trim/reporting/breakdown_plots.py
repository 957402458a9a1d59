"""Plots of the breakdown of a run: tokens by use, latency, where the strong model wrote, calibration of the PRM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from trim.metrics.breakdown import KINDS, Breakdown
from trim.metrics.judge_quality import ReliabilityBin
from trim.metrics.operating_point import OperatingPoint, point_name
from trim.reporting.png import caption

# One hatch a kind, so that the bars can be distinguished without colour.
_FILLS = (
    ("#E69F00", ""), ("#E69F00", "////"), ("#0072B2", ""), ("#0072B2", "////"),
    ("#F5D58A", "..."), ("#9CC7E4", "..."), ("#B5B5B5", "xx"),
)  # fmt: skip


def token_costs(breakdowns: Mapping[tuple[str, float | None], Breakdown]) -> Figure:
    """Tokens per question by use, one bar an operating point; written and read tokens side by side."""
    figure = Figure(figsize=(9, 1.5 + 0.33 * max(1, len(breakdowns))), layout="constrained")
    written, read = figure.subplots(1, 2, sharey=True)
    names = [caption(point_name(*key)) for key in breakdowns]
    for axes, kinds, title in (
        (written, range(4), "tokens written per question"),
        (read, range(4, 7), "tokens read per question"),
    ):
        left = np.zeros(len(names))
        for kind in kinds:
            values = np.array([a.tokens[KINDS[kind]] / max(1, a.solutions) for a in breakdowns.values()])
            colour, hatch = _FILLS[kind]
            axes.barh(names, values, left=left, color=colour, hatch=hatch, edgecolor="white", label=KINDS[kind])
            left += values
        # Of a stack that ends in an empty bar, matplotlib would leave no margin.
        axes.set_xlim(0, 1.05 * max(left.max(initial=0.0), 1.0))
        axes.set_title(title, fontsize="medium")
        axes.grid(axis="x", alpha=0.25)
    written.invert_yaxis()
    figure.legend(fontsize="x-small", loc="outside lower center", ncols=4)
    return figure


def latency(points: Sequence[OperatingPoint]) -> Figure:
    """Median and 95th percentile of seconds per question."""
    figure = Figure(figsize=(9, 1.2 + 0.28 * max(1, len(points))), layout="constrained")
    axes = figure.add_subplot()
    names = [caption(point_name(p.policy, p.parameter)) for p in points]
    axes.hlines(names, [p.seconds_p50 for p in points], [p.seconds_p95 for p in points], color="#8a8a8a")
    axes.plot([p.seconds_p50 for p in points], names, "o", color="#0072B2", label="median")
    axes.plot([p.seconds_p95 for p in points], names, ">", color="#D55E00", label="95th percentile")
    axes.set_xlabel("seconds per question, with other questions running concurrently")
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.25)
    axes.invert_yaxis()
    figure.legend(fontsize="small", loc="outside upper right", ncols=2)
    return figure


def positions(breakdowns: Mapping[tuple[str, float | None], Breakdown]) -> Figure:
    """Share of the steps at each position that the strong model wrote: one row an operating point, darker is more."""
    rows = {
        caption(point_name(*key)): breakdown for key, breakdown in breakdowns.items() if any(breakdown.strong_steps)
    }
    figure = Figure(figsize=(9, 1.1 + 0.3 * max(1, len(rows))), layout="constrained")
    axes = figure.add_subplot()
    if not rows:
        return figure
    share = np.array([np.divide(a.strong_steps, np.maximum(a.steps, 1)) for a in rows.values()])
    reached = max(max(i + 1 for i, n in enumerate(a.steps) if n) for a in rows.values())
    axes.imshow(share[:, :reached], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xticks(range(reached), [str(i + 1) for i in range(reached)])
    axes.set_xlabel("position in the solution")
    for row, values in enumerate(share[:, :reached]):
        for column, value in enumerate(values):
            ink = "#fefefe" if value > 0.6 else "#010101"  # over a colour: not the ink of a dark page
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize="x-small", color=ink)
    axes.set_title("steps written by the strong model, in percent", fontsize="medium")
    return figure


def reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    """The PRM's scores against the share of drafts that are right."""
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    x, y = [b.score for b in bins], [b.right for b in bins]
    axes.plot([0, 1], [0, 1], color="#8a8a8a", linestyle=":", label="perfectly calibrated")
    errors = [[b.right - b.low for b in bins], [b.high - b.right for b in bins]]
    axes.errorbar(x, y, errors, color="#0072B2", marker="o", capsize=3, label="drafts, with 95% CI")
    for b in bins:
        axes.annotate(str(b.count), (b.score, b.right), xytext=(5, -11), textcoords="offset points", fontsize="x-small")
    axes.set_xlabel("mean score, in bins of 0.1")
    axes.set_ylabel("share of them that is right")
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", loc="best")
    return figure
