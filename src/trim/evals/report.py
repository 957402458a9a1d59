"""`report.html`: one file that opens offline, with the frontier and the solutions behind it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from trim.evals.metrics import OperatingPoint, cheapest, point_name
from trim.evals.plots import frontier, png
from trim.evals.run import Run
from trim.traces import read_traces
from trim.types import Draft, Role, Trace

_SHOWN_QUESTIONS = 60
_MOST_POINTS = 12


def write_report(run: Run, title: str = "TRIM: which steps did the strong model write?") -> Path:
    """Write the report of a run and return its path."""
    points = run.operating_points()
    settings = run.settings
    subtitle = f"Task {settings.task}, {settings.questions} questions, seed {settings.seed}. Models: " + ", ".join(
        f"{role} {name}" for role, name in settings.models.items()
    )
    best = cheapest(points, "threshold", 0.95)
    shown = _shown(points)
    rows = _sample(read_traces(run.traces), {(p.policy, p.parameter) for p in shown})
    template = Environment(autoescape=True).from_string((files("trim.evals") / "report.html.jinja").read_text("utf-8"))
    html = template.render(
        title=title,
        subtitle=subtitle,
        headline=headline(points),
        plot=base64.b64encode(png(frontier(points, f"{settings.task}, {settings.questions} questions"))).decode(),
        plot_alt="Accuracy against strong share for every policy; the table below has the numbers.",
        points=points,
        sample_note=f"{_SHOWN_QUESTIONS} questions at most, at {len(shown)} of the {len(points)} operating points; "
        "all of them are in traces.jsonl.",
        data=_safe_json(rows),
        first=point_name(best.policy, best.parameter) if best else "",
    )
    path = run.folder / "report.html"
    path.write_text(html, "utf-8")
    return path


def headline(points: Sequence[OperatingPoint]) -> str:
    """What the run shows, in one sentence; empty if it has no such point."""
    ends = {p.policy: p for p in points}
    best = cheapest(points, "threshold", 0.95)
    weak, strong = ends.get("always-weak"), ends.get("always-strong")
    if best is None or weak is None or strong is None or best.strong_share is None:
        return ""
    return (
        f"The weak model alone solves {weak.accuracy:.0%}, the strong model alone {strong.accuracy:.0%}. "
        f"Routing steps by their score (threshold {best.parameter:g}) solves {best.accuracy:.0%} "
        f"(95% interval {best.accuracy_interval[0]:.0%} to {best.accuracy_interval[1]:.0%}) "
        f"with {best.strong_share:.0%} of the strong model's tokens."
    )


def _safe_json(rows: list[dict[str, Any]]) -> Markup:
    """JSON that nothing in it can break out of a script element."""
    text = json.dumps(rows, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _shown(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """The points whose solutions are shown: the ends and the headline's always, then one policy as much as another."""
    best = cheapest(points, "threshold", 0.95)
    chosen = [p for p in points if p.parameter is None or p is best]
    others = [p for p in points if p not in chosen]
    room = max(0, _MOST_POINTS - len(chosen))
    step = max(1, -(-len(others) // room)) if room else len(others) + 1
    chosen += others[step // 2 :: step]
    return [p for p in points if p in chosen]


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
        "f": [f"{fallback.role.value} failed, {fallback.to.value} went on" for fallback in trace.fallbacks],
        "s": [
            {
                "a": decision.step.role.value,
                "t": decision.step.text,
                "r": decision.score,
                "k": decision.kept_score,
                "o": decision.forced,
                "d": [_draft(draft) for draft in decision.rejected],
            }
            for decision in trace.decisions
        ],
    }


def _draft(draft: Draft) -> dict[str, Any]:
    return {"a": draft.step.role.value, "t": draft.step.text, "r": draft.score}
