"""`report.html`: one file that opens offline, with the frontier, tables, breakdowns and solutions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from trim.atomic import write_text
from trim.experiments.run import Run
from trim.metrics.breakdown import RunBreakdown, break_down
from trim.metrics.operating_point import OperatingPoint, best_point, cheapest, point_name
from trim.reporting.breakdown_plots import latency, positions, reliability, token_costs
from trim.reporting.frontier_plot import COST, frontier
from trim.reporting.money import amount_of
from trim.reporting.svg import STYLE, svg
from trim.tasks import FAMILIES
from trim.tasks.shipped_questions import note_on
from trim.traces import read_traces
from trim.types import Draft, Role, Trace

_SHOWN_QUESTIONS = 60
_MOST_POINTS = 12


def write_report(run: Run, title: str = "TRIM: which steps did the strong model write?") -> Path:
    """Write the report of a run and return its path."""
    points, settings = run.operating_points(), run.settings
    best = best_point(points)
    shown = _shown(points)
    keys = {(p.policy, p.parameter) for p in shown}
    family = FAMILIES.get(settings.task.partition(":")[0])
    breakdown = break_down(read_traces(run.traces), keys, family.step_labels if family else None)
    environment = Environment(autoescape=True)
    environment.filters["per_thousand"] = lambda cost: amount_of(None if cost is None else 1000 * cost)
    template = environment.from_string((files("trim.reporting") / "report.html.jinja").read_text("utf-8"))
    html = template.render(
        title=title,
        plot_style=Markup(STYLE),  # noqa: S704  # ours
        subtitle=f"Task {settings.title}, {settings.size}, seed {settings.seed}. Models: "
        + ", ".join(f"{role} {name}" for role, name in settings.models.items())
        + _judge(settings.conditions.get("judge")),
        headline=headline(points),
        failures=run.failures,
        foreign=foreign_note(run),
        figures=_figures(run, shown, breakdown),
        points=points,
        summaries=run.summaries(),
        sample_note=f"{_SHOWN_QUESTIONS} questions at most, at {len(shown)} of the {len(points)} operating points; "
        f"{'the first sample of each; ' if settings.samples > 1 else ''}all of them are in traces.jsonl.",
        data=_safe_json(_sample((t for t in read_traces(run.traces) if t.seed == settings.seed), keys)),
        first=point_name(best.policy, best.parameter) if best else "",
    )
    path = run.folder / "report.html"
    write_text(path, html)
    return path


def _judge(told: object) -> str:
    """Which judge scored, and how good it is known to be; empty where an earlier version wrote the run."""
    if not isinstance(told, dict) or "judge" not in told:
        return ""
    return f". Judge: {told['judge']} ({told.get('known', 'not known')})"


@dataclass(frozen=True)
class _Plot:
    """A section of the report: a plot, and how to read it."""

    title: str
    note: str
    picture: Markup


def _figures(run: Run, shown: Sequence[OperatingPoint], breakdown: RunBreakdown) -> list[_Plot]:
    settings = run.settings
    ordered = {(p.policy, p.parameter): breakdown.points[p.policy, p.parameter] for p in shown}
    made = [
        (
            "Accuracy against strong share",
            frontier(run.operating_points(), f"{settings.title}, {settings.size}"),
            "Accuracy against strong share for every policy; the tables below have the numbers.",
            _frontier_note({p.policy for p in shown}),
        ),
        (
            "Tokens by use",
            token_costs(ordered),
            "Tokens per question, by role and use.",
            "Discarded tokens are those of rejected drafts, of steps drafted after them, and of answers that a cascade "
            "replaced.",
        ),
        (
            "Latency",
            latency(shown),
            "Median and 95th percentile of seconds per question.",
            "As measured in this run, with other questions, and perhaps other programs, running at the same time.",
        ),
        (
            "Where the strong model was called",
            positions(ordered),
            "Share of the steps at each position that the strong model wrote.",
            "In percent of the solutions that have such a step. The last column includes all later steps.",
        ),
    ]
    if breakdown.calibration:
        made.append(
            (
                "Calibration of the process reward model",
                reliability(breakdown.calibration),
                "Scores in tenths against the share of drafts that are right by the task's rule.",
                "Only drafts that follow right steps; the numbers at the points count them. Below the line the scores "
                "are overconfident.",
            )
        )
    plots = [_Plot(title, note, svg(figure, alt)) for title, figure, alt, note in made]
    return [plots[0], *_costs(run), *plots[1:]]


def _costs(run: Run) -> list[_Plot]:
    """The frontier over the total cost; nothing where no cost is known."""
    points = [p for p in run.operating_points() if p.cost is not None]
    if not points:
        return []
    unknown = len(run.operating_points()) - len(points)
    left_out = f" {unknown} points are left out: a role that they used has no price." if unknown else ""
    figure = frontier(points, f"{run.settings.title}, {run.settings.size}", axis=COST)
    return [
        _Plot(
            "Accuracy against total cost",
            "Total cost: the tokens of all roles, prompts and rejected drafts included, at the prices set." + left_out,
            svg(figure, "Accuracy against total cost for every policy; the tables below have the numbers."),
        )
    ]


def _frontier_note(policies: Set[str]) -> str:
    """How to read the frontier; speaks only of policies that are in it."""
    references = [
        text
        for policy, text in (
            ("random", "random shows what as many strong tokens reach without any score"),
            ("oracle", "the oracle shows what step-level routing could reach at best"),
        )
        if policy in policies
    ]
    words = "; ".join(references)
    return (
        "Strong share is the strong model's tokens over those of the strong model alone; up and to the left is better. "
        "Bands are 95% confidence intervals." + (f" {words[0].upper()}{words[1:]}." if words else "")
    )


def headline(points: Sequence[OperatingPoint]) -> str:
    """What the run shows, in a sentence or two; empty if it lacks one of the models alone."""
    ends = {p.policy: p for p in points}
    weak, strong = ends.get("always-weak"), ends.get("always-strong")
    if weak is None or strong is None:
        return ""
    alone = f"The weak model alone solves {weak.accuracy:.0%}, the strong model alone {strong.accuracy:.0%}. "
    if strong.accuracy <= weak.accuracy:
        return f"{alone}There is no gap that routing could recover."
    best = best_point(points)
    if best is None or best.strong_share is None:
        return f"{alone}No policy that routes was run."
    low, high = best.accuracy_interval
    cost = ""
    if best.cost is not None and strong.cost:
        cost = f" and {best.cost / strong.cost:.0%} of its total cost"
    elif best.cost is None or strong.cost is None:
        cost = "; the total cost is unknown, as a price is missing"
    return (
        f"{alone}{point_name(best.policy, best.parameter)} solves {best.accuracy:.0%} (95% confidence interval "
        f"{low:.0%} to {high:.0%}) with {best.strong_share:.0%} of the strong model's tokens{cost}."
    )


def foreign_note(run: Run) -> str:
    """Says if the shipped models were asked what they were not made for, by the first questions; else empty."""
    texts = dict.fromkeys(trace.question.text for trace in islice(read_traces(run.traces), _SHOWN_QUESTIONS))
    foreign = sum(bool(note_on(text, run.settings.models.values())) for text in texts)
    words = "questions are none of the three kinds of problems that the shipped models know: do not trust the figures"
    return f"{foreign} of the first {len(texts)} {words}" if foreign else ""


def _safe_json(rows: list[dict[str, Any]]) -> Markup:
    """JSON that nothing in it can break out of a script element."""
    text = json.dumps(rows, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _shown(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """The points whose solutions are shown: both ends, the headline's, one that represents each policy, and as many
    others as fit, evenly spread.
    """
    best = best_point(points)
    representatives = [
        _representative([p for p in points if p.policy == policy]) for policy in dict.fromkeys(p.policy for p in points)
    ]
    chosen = [p for p in points if p.parameter is None or p is best or p in representatives]
    others = [p for p in points if p not in chosen]
    free = max(0, _MOST_POINTS - len(chosen))
    step = max(1, -(-len(others) // free)) if free else len(others) + 1
    chosen += others[step // 2 :: step]
    return [p for p in points if p in chosen]


def _representative(points: Sequence[OperatingPoint]) -> OperatingPoint:
    """Of one policy's points the cheapest that recovers 80% of the gap, else the one that recovers most."""
    good = cheapest(points, points[0].policy, 0.8)
    return good or max(points, key=lambda p: p.accuracy)


def _sample(traces: Iterable[Trace], shown: set[tuple[str, float | None]]) -> list[dict[str, Any]]:
    """The first questions of every shown point, as small rows."""
    first: dict[str, None] = {}
    rows = []
    for trace in traces:
        if (trace.policy, trace.parameter) not in shown:
            continue
        if trace.question.id not in first:
            if len(first) >= _SHOWN_QUESTIONS:
                continue
            first[trace.question.id] = None
        rows.append(_row(trace))
    return rows


def _row(trace: Trace) -> dict[str, Any]:
    return {
        "p": point_name(trace.policy, trace.parameter),
        "q": trace.question.text,
        "g": trace.question.reference,
        "x": trace.answer,
        "ok": bool(trace.correct),
        "w": trace.stop_reason.value.replace("_", " "),
        "n": trace.usage[Role.STRONG].completion_tokens,
        "f": [
            *(f"{fallback.role.value} failed, fallback to {fallback.to.value}" for fallback in trace.fallbacks),
            *([] if trace.error is None else [f"failed: {trace.error}"]),
        ],
        "s": [
            {
                "a": decision.step.role.value,
                "t": decision.step.content,
                "r": decision.score,
                "k": decision.kept_score,
                "o": decision.forced,
                "d": [_draft(draft) for draft in decision.rejected],
            }
            for decision in trace.decisions
        ],
    }


def _draft(draft: Draft) -> dict[str, Any]:
    return {"a": draft.step.role.value, "t": draft.step.content, "r": draft.score}
