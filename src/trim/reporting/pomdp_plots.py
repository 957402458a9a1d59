"""Plots of a fitted POMDP: what it decides, when solutions end, how the PRM scores each state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import STATES, PomdpModel, PomdpSolution
from trim.pomdp.fit.estimation import PomdpFit
from trim.reporting.png import write_png
from trim.stats import Estimate

_BLUE, _ORANGE = "#0072B2", "#E69F00"
_SIDE = 90  # points on a side of the triangle
_TOP = 3**0.5 / 2
_WORDS = {
    "CORRECT": "CORRECT: every step right",
    "RECOVERABLE": "RECOVERABLE: this step is the first wrong one",
    "LOST": "LOST: an earlier step is wrong",
}


def write_fit_plots(policy: PomdpPolicy, fitted: PomdpFit, folder: Path) -> tuple[str, ...]:
    """Write all plots of a fit into a folder; the files' names."""
    plots = {
        "decisions.png": decisions(policy),
        "hazard.png": hazard(fitted.model, fitted.hazard),
        "scores.png": scores(fitted.points),
    }
    for name, figure in plots.items():
        write_png(figure, folder / name)
    return tuple(plots)


def decisions(policy: PomdpPolicy) -> Figure:
    """Where in the triangle of beliefs a draft of mean length is rewritten: at the first step, later, and at the end;
    at the policy's price (hatched) and at a third and three times of it (lines).
    """
    model = policy.model
    later = _median_length(model) // 2
    panels = [(0, False, "first draft"), (later, False, f"draft {later + 1}"), (later, True, "final draft")]
    panels = panels if later else [panels[0], panels[2]]
    figure = Figure(figsize=(4.1 * len(panels), 4.6), layout="constrained")
    for axes, (step, final, words) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        _triangle(axes, words)
        for share, line in ((1 / 3, "--"), (1.0, "-"), (3.0, ":")):
            _region(axes, policy.at(share * policy.price).solution, step, final=final, line=line, filled=share == 1.0)
    price = policy.price
    handles = [
        Patch(facecolor="#cfe3f1", edgecolor=_BLUE, hatch="///", label=f"rewritten at a price of {price:.2g}"),
        Line2D([], [], color=_BLUE, linestyle="--", label=f"its border at {price / 3:.2g}"),
        Line2D([], [], color=_BLUE, linestyle=":", label=f"its border at {price * 3:.2g}"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"Which drafts the strong model rewrites, by belief (a draft of {model.step_tokens:.0f} tokens; "
        "prices in correct answers per strong token)",
        fontsize=11,
    )
    return figure


def _triangle(axes: Axes, title: str) -> None:
    axes.plot([0, 1, 0.5, 0], [0, 0, _TOP, 0], color="black", linewidth=1)
    for share in (0.25, 0.5, 0.75):  # lines of equal P(CORRECT), P(RECOVERABLE), P(LOST)
        rest = 1 - share
        for ends in (
            ((share, rest, 0), (share, 0, rest)),
            ((rest, share, 0), (0, share, rest)),
            ((rest, 0, share), (0, rest, share)),
        ):
            x, y = _place(np.array(ends, float))
            axes.plot(x, y, color="grey", linewidth=0.5, alpha=0.5)
    axes.text(0.0, -0.03, "CORRECT", ha="center", va="top", fontsize=9)
    axes.text(1.0, -0.03, "LOST", ha="center", va="top", fontsize=9)
    axes.text(0.5, _TOP + 0.02, "RECOVERABLE", ha="center", va="bottom", fontsize=9)
    axes.set_title(title, fontsize=11, pad=24)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(-0.12, 1.12)


def _place(beliefs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Beliefs (n, 3) to points of the triangle: CORRECT left, LOST right, RECOVERABLE on top."""
    return beliefs[:, 2] + beliefs[:, 1] / 2, beliefs[:, 1] * _TOP


def _region(axes: Axes, solution: PomdpSolution, step: int, *, final: bool, line: str, filled: bool) -> None:
    i, j = np.meshgrid(np.arange(_SIDE + 1), np.arange(_SIDE + 1))
    correct, recoverable = (side[i + j <= _SIDE] / _SIDE for side in (i, j))
    beliefs = np.stack([correct, recoverable, np.maximum(1 - correct - recoverable, 0)], axis=1)
    worth = solution.gain(step, beliefs, final=final) - solution.price * solution.model.step_tokens
    if worth.max() <= 0:
        return  # rewritten nowhere
    x, y = _place(beliefs)
    if filled:
        shade = axes.tricontourf(x, y, worth, levels=[0, worth.max() + 1], colors=["#cfe3f1"], hatches=["///"])
        shade.set_edgecolor(_BLUE)
        shade.set_linewidth(0)
    if worth.min() < 0:
        axes.tricontour(x, y, worth, levels=[0], colors=[_BLUE], linestyles=[line], linewidths=1.6)


def _median_length(model: PomdpModel) -> int:
    """Drafts after which half of the solutions have ended."""
    open_share = np.cumprod(1 - np.array(model.hazard))
    return int(np.argmax(open_share <= 0.5)) + 2 if open_share[-1] <= 0.5 else len(model.hazard) + 1


def hazard(model: PomdpModel, counted: Sequence[Estimate]) -> Figure:
    """P(the next draft is the final one), as counted (with 95% confidence intervals) and as the policy uses it."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    steps = np.arange(len(counted))
    values = np.array([e.value for e in counted])
    reach = np.array([[e.value - e.low for e in counted], [e.high - e.value for e in counted]])
    label = "counted, with 95% confidence interval"
    axes.errorbar(steps, values, np.maximum(reach, 0), fmt="o", color="black", capsize=3, markersize=5, label=label)
    label = "smoothed, as the policy uses it"
    axes.plot(steps, model.hazard[: len(counted)], color=_BLUE, drawstyle="steps-mid", label=label)
    small: dict[str, Any] = {"va": "bottom", "fontsize": 8, "color": "#444444", "annotation_clip": False}
    for step, e in zip(steps, counted, strict=True):
        axes.annotate(str(e.count), (step, 1.09), ha="center", **small)
    axes.annotate("drafts:", (-0.75, 1.09), ha="right", **small)
    axes.set_xlabel("t (the draft after step t, counted from 0)")
    axes.set_ylabel("P(that draft is the final one)")
    axes.set_ylim(-0.03, 1.06)
    axes.set_xlim(-0.6, len(counted) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(alpha=0.25)
    axes.legend(loc="best", frameon=False)
    axes.set_title("When solutions end", fontsize=11, pad=22)
    return figure


def scores(points: Mapping[str, NDArray[np.float64]]) -> Figure:
    """How the scores of a state are spread, one panel a state, with quartiles."""
    figure = Figure(figsize=(7.5, 6.2), layout="constrained")
    panels = figure.subplots(len(STATES), 1, sharex=True, sharey=True)
    edges = np.linspace(0, 1, 21)
    for axes, state, colour, hatch in zip(panels, STATES, (_BLUE, _ORANGE, "#999999"), ("", "///", "..."), strict=True):
        values = points[state][:, 1]
        shares = np.histogram(values, edges)[0] / len(values)
        fill: dict[str, Any] = {"color": colour, "hatch": hatch, "alpha": 0.55, "edgecolor": "black", "linewidth": 0.6}
        axes.bar(edges[:-1], shares, 0.05, align="edge", **fill)
        low, middle, high = np.percentile(values, (25, 50, 75))
        axes.set_title(f"{_WORDS[state]}   ({len(values):,} scores)", fontsize=10, loc="left")
        spread = f"median {middle:.2f}, half of them in {low:.2f} to {high:.2f}"
        axes.text(0.5, 0.88, spread, transform=axes.transAxes, ha="center", va="top", fontsize=9)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.set_xlim(0, 1)
    panels[1].set_ylabel("share of the state's scores")
    panels[-1].set_xlabel("score of the process reward model")
    return figure
