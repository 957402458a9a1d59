"""The accuracy-cost frontier: accuracy against strong share or total cost, one curve a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trim.metrics.operating_point import OperatingPoint, best_point
from trim.policies.registry import Level, known
from trim.reporting.png import caption

# Colours that stay apart for the colour-blind (Okabe and Ito), with marker and line so that colour is not needed.
_STYLES = {
    "threshold": ("#0072B2", "o", "-", "threshold (low-scored steps)"),
    "random": ("#E69F00", "s", "--", "random (random steps)"),
    "pomdp": ("#CC79A7", "D", "-.", "pomdp (plans by belief)"),
    "oracle": ("#009E73", "^", "", "oracle (exactly the wrong steps)"),
}
_COLOURS = ("#56B4E9", "#D55E00", "#000000", "#009E73", "#CC79A7", "#0072B2")
_MARKERS = ("v", "P", "X", "<", ">", "h", "*", "p", "d", "8", "H", "+", "x", "1", "2", "3", "4")
_BANDED = 6  # with more curves, bands hide each other: only those of TRIM's own policies are drawn


@dataclass(frozen=True)
class _Style:
    colour: str
    marker: str
    line: str
    label: str


def _styles(policies: Sequence[str]) -> dict[str, _Style]:
    """How each policy is drawn: no two alike; query-level ones in grey."""
    made, others = {}, [policy for policy in policies if policy not in _STYLES]
    for index, policy in enumerate(others):
        marker = _MARKERS[index % len(_MARKERS)]
        family = known(policy)
        if family is not None and family.level is Level.QUERY:
            made[policy] = _Style("#8a8a8a", marker, "--", caption(f"{policy} (whole questions)"))
        else:
            line = ":" if family is not None and family.baseline else "-"
            made[policy] = _Style(_COLOURS[index % len(_COLOURS)], marker, line, caption(policy))
    return made | {policy: _Style(*style) for policy, style in _STYLES.items()}


@dataclass(frozen=True)
class Axis:
    """What a frontier is drawn against: `of` a point (None: not known), and the least range that is shown."""

    label: str
    of: Callable[[OperatingPoint], float | None]
    written: Callable[[float], str]
    least: float
    missing: str


SHARE = Axis(
    "strong share: strong-model tokens / those of the strong model alone",
    lambda point: point.strong_share,
    lambda value: f"{value:.0%}",
    0.2,
    "No strong share is known: the run has no answers of the strong model alone.",
)
COST = Axis(
    "total cost of 1,000 questions, in dollars",
    lambda point: None if point.cost is None else 1000 * point.cost,
    lambda value: f"${value:g}",
    0.0,
    "No cost is known: set the prices of every role.",
)


def frontier(points: Sequence[OperatingPoint], title: str, axis: Axis = SHARE) -> Figure:
    """Accuracy against strong share or cost, one curve a policy, with 95% confidence intervals. Where there is nothing
    to draw, a sentence says why.
    """
    nothing = axis.missing if points else "There are no answers yet."
    points = [p for p in points if axis.of(p) is not None]
    ends = {p.policy: p for p in points if p.policy in ("always-weak", "always-strong")}
    policies = list(dict.fromkeys(p.policy for p in points if p.policy not in ends))
    many = len(policies) > _BANDED
    figure = Figure(figsize=(10, 6) if many else (8, 5), layout="constrained")
    axes = figure.add_subplot()
    styles = _styles(policies)
    for policy in policies:
        chosen = sorted((p for p in points if p.policy == policy), key=lambda p: axis.of(p) or 0.0)
        family = known(policy)
        baseline = family is not None and (family.baseline or family.level is Level.QUERY)
        _curve(axes, chosen, styles[policy], axis, interval=not (many and baseline))
    _ends(axes, ends, axis)
    if axis is SHARE:
        _mark(axes, points)
    if not points:
        axes.text(0.5, 0.5, nothing, ha="center", va="center", transform=axes.transAxes)
    axes.set_xlabel(axis.label)
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_formatter(lambda value, _: axis.written(value))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.margins(y=0.12)
    _spread(axes, axis, points)
    axes.grid(alpha=0.25)
    axes.set_title(caption(title))
    if axes.get_legend_handles_labels()[0]:
        place: dict[str, Any] = {"loc": "outside right"} if many else {"loc": "lower right"}
        (figure if many else axes).legend(**place, facecolor="white", edgecolor="none", framealpha=1, fontsize="small")
    return figure


def _spread(axes: Axes, axis: Axis, points: Sequence[OperatingPoint]) -> None:
    """Room around the points, also where there is one alone or all are equal."""
    right = max([axis.least, *(axis.of(p) or 0.0 for p in points)]) or 1.0
    axes.set_xlim(-0.03 * right, 1.05 * right)
    low, high = axes.get_ylim()
    if high - low < 0.1:
        middle = min(max((low + high) / 2, 0.06), 0.94)
        axes.set_ylim(middle - 0.08, middle + 0.08)


def _curve(axes: Axes, points: Sequence[OperatingPoint], style: _Style, axis: Axis, *, interval: bool) -> None:
    x = [axis.of(p) or 0.0 for p in points]
    y = [p.accuracy for p in points]
    line = style.line or "none"
    axes.plot(x, y, color=style.colour, marker=style.marker, linestyle=line, label=style.label, markersize=5)
    low, high = [p.accuracy_interval[0] for p in points], [p.accuracy_interval[1] for p in points]
    if not interval:
        return
    if len(points) > 1:
        axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    else:
        axes.errorbar(x, y, [[y[0] - low[0]], [high[0] - y[0]]], color=style.colour, capsize=3)


def _ends(axes: Axes, ends: dict[str, OperatingPoint], axis: Axis) -> None:
    furthest = max((axis.of(point) or 0.0 for point in ends.values()), default=0.0)
    for policy, words, side in (
        ("always-weak", "weak model alone", "top"),
        ("always-strong", "strong model alone", "bottom"),
    ):
        if (point := ends.get(policy)) is not None:
            share = axis.of(point) or 0.0
            axes.plot([share], [point.accuracy], marker="*", markersize=13, color="black", linestyle="none")
            axes.axhline(point.accuracy, color="grey", linewidth=0.8, linestyle=":")
            right = share > 0.5 * furthest
            axes.annotate(
                f"{words} {point.accuracy:.0%}",
                (share, point.accuracy),
                xytext=(-8 if right else 8, 7 if side == "bottom" else -7),
                textcoords="offset points",
                ha="right" if right else "left",
                va=side,
            )


def _mark(axes: Axes, points: Sequence[OperatingPoint]) -> None:
    best = best_point(points)
    if best is not None and best.strong_share is not None and best.pgr is not None:
        axes.annotate(
            f"{best.pgr:.0%} of the gap recovered\nwith {best.strong_share:.0%} of the strong tokens",
            (best.strong_share, best.accuracy),
            xytext=(40, -60),
            textcoords="offset points",
            arrowprops={"arrowstyle": "->", "color": "#0072B2"},
            color="#0072B2",
        )
