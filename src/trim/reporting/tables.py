"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, isinf
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from trim.metrics.curve_summary import Summary
from trim.metrics.operating_point import OperatingPoint, point_name
from trim.reporting.money import amount_of
from trim.stats import Estimate

if TYPE_CHECKING:
    from trim.metrics.judge_quality import Quality
    from trim.metrics.run_comparison import Compared
    from trim.pomdp.fit.estimation import PomdpFit


def _table(title: str, first: str, *others: str, narrow: bool = False) -> Table:
    """An empty table: a column of names, which is the first to be wrapped, then columns of figures.

    Headers have their line breaks where 80 columns need them, so that figures and words stay whole. `narrow`: there is
    no space before a cell, as there are many.
    """
    padding = (0, 1, 0, 0) if narrow else (0, 1)
    made = Table(title=Text(title), title_justify="left", header_style="bold", padding=padding)
    made.add_column(first, overflow="fold")
    for name in others:
        made.add_column(name, justify="right", overflow="fold")
    return made


def points_table(points: Sequence[OperatingPoint], title: str) -> Table:
    """One row an operating point; tokens and cost per question."""
    figures = ("accuracy", "95% CI", "strong\nshare", "PGR", "strong\ntokens", "$ per\n1,000")
    made = _table(title, "policy", *figures)
    if any(p.estimated for p in points):
        made.caption, made.caption_justify = Text("~ some token counts are estimates"), "left"
    for p in points:
        low, high = p.accuracy_interval
        mark = "~" if p.estimated else ""
        made.add_row(
            point_name(p.policy, p.parameter),
            f"{p.accuracy:.1%}",
            f"{100 * low:.0f}-{100 * high:.0f}%",
            "" if p.strong_share is None else f"{p.strong_share:.0%}",
            "" if p.pgr is None else f"{p.pgr:.0%}",
            f"{mark}{p.strong_tokens:.1f}",
            f"{mark if p.cost is not None else ''}{amount_of(None if p.cost is None else 1000 * p.cost)}",
            style="bold" if p.pgr is not None and p.pgr >= 0.95 and p.policy != "always-strong" else None,
        )
    return made


def summary_table(summaries: Sequence[Summary]) -> Table:
    """One row a policy: CPT in percent of the strong model's tokens, APGR, delta-IBC, the cost of correct answers."""
    figures = ("CPT50", "CPT80", "CPT95", "95% CI", "APGR", "delta-\nIBC", "best", "$ per\n1,000\nright")
    made = _table("summary of each policy (none: not reached)", "policy", *figures, narrow=True)
    for s in summaries:
        made.add_row(
            s.policy,
            *(_written(s.cpt[level].value, "%") for level in (50, 80, 95)),
            _interval(s.cpt[95].low, s.cpt[95].high),
            *(_written(figure.value) for figure in (s.apgr, s.delta_ibc, s.delta_ibc_best)),
            _per_thousand(s.cost_per_correct.value),
        )
    return made


def differences_table(rows: Sequence[Compared]) -> Table:
    """One row a difference between two runs, in percentage points with its 95% confidence interval."""
    title = "accuracy of the first run less that of the second, in percentage points"
    made = _table(title, "", "difference", "95% CI", "questions")
    made.add_column("significant")
    for row in rows:
        d = row.difference
        interval = f"{100 * d.low:+.1f} to {100 * d.high:+.1f}"
        made.add_row(row.name, f"{100 * d.value:+.1f}", interval, str(d.count), "yes" if row.significant else "")
    return made


def scorers_table(found: Mapping[str, Quality], data: str) -> Table:
    """Several judges on the same solutions, one row each."""
    one = next(iter(found.values()))
    title = f"scorers on {data}: {one.solutions} solutions, {one.steps} steps up to their first wrong one"
    figures = ("AUROC", "95% CI", f"F1 at\n{one.threshold:g}", "best\nF1", "at", "calibration\nerror", "ms a\nstep")
    made = _table(title, "scorer", *figures, narrow=True)
    for scorer, q in found.items():
        made.add_row(
            scorer,
            f"{q.auroc.value:.3f}",
            f"{q.auroc.low:.3f}-{q.auroc.high:.3f}",
            f"{q.f1.value:.3f}",
            f"{q.best_f1:.3f}",
            f"{q.best_threshold:g}",
            f"{q.calibration_error:.3f}",
            f"{1000 * q.seconds_per_step:.1f}",
        )
    return made


def quality_table(found: Quality, title: str) -> Table:
    """All figures of one judge, one row each."""
    made = _table(title, "figure", "value", "95% CI")
    for name, estimate in (
        (f"F1 at {found.threshold:g}", found.f1),
        ("first wrong step named", found.erroneous),
        ("correct solutions left alone", found.correct),
        ("AUROC of steps", found.auroc),
    ):
        made.add_row(name, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}")
    made.add_row("first wrong step or a neighbour named", f"{found.near:.3f}", "")
    made.add_row(f"best F1, at {found.best_threshold:g}", f"{found.best_f1:.3f}", "")
    made.add_row("calibration error", f"{found.calibration_error:.3f}", "")
    made.add_row("milliseconds a step", f"{1000 * found.seconds_per_step:.1f}", "")
    for tenth in found.bins:
        made.add_row(f"  scores around {tenth.score:.2f}: right", f"{tenth.right:.3f}", f"{tenth.count} steps")
    made.caption = f"{found.solutions} solutions, {found.steps} steps up to their first wrong one"
    return made


def fit_table(fitted: PomdpFit, task: str) -> Table:
    """One row an estimate, with its 95% confidence interval and how many observations it is from."""
    skipped = f", {fitted.skipped} without labels left out" if fitted.skipped else ""
    title = f"{task}: {fitted.traces} traces of {fitted.questions} questions{skipped}"
    table = _table(title, "estimate", "value", "95% CI", "from")

    def row(name: str, estimate: Estimate | None, of: str, digits: int = 3) -> None:
        if estimate is None:
            table.add_row(name, "as p_s", "", "no labelled pairs")
            return
        low, high = (f"{bound:.{digits}f}" for bound in (estimate.low, estimate.high))
        table.add_row(name, f"{estimate.value:.{digits}f}", f"{low} to {high}", f"{estimate.count:,} {of}")

    row("p_w: weak step right", fitted.weak_accuracy, "drafts")
    if fitted.final_accuracy is not None:
        row("p_w of the final step", fitted.final_accuracy, "drafts")
    row("p_s: strong step right", fitted.strong_accuracy, "steps")
    row("q_C: strong step right, draft right", fitted.strong_accuracy_if_correct, "steps")
    row("q_R: strong step right, draft wrong", fitted.strong_accuracy_if_wrong, "steps")
    row("tokens of a draft", fitted.step_tokens, "drafts", 1)
    resamples = fitted.resamples
    kinds = [("next draft", resamples), ("revised strong step", fitted.revise)]
    if resamples is not None:
        kinds[1:1] = [
            ("later draft, earlier alike,", resamples.after_identical),
            ("later draft, earlier differ,", resamples.after_differing),
        ]
    for text, again in kinds:
        if again is None:
            continue
        for state, estimate in zip(fitted.scores, again.repeat_probability, strict=True):
            row(f"{text} the same, {state}", estimate, "pairs")
        row(f"{text} right, the one before right", again.accuracy_if_correct, "different pairs")
        row(f"{text} right, the one before wrong", again.accuracy_if_wrong, "different pairs")
        if again.score_correlation is not None:
            table.add_row("correlation of their scores", f"{again.score_correlation:.3f}", "", "taken to be 0")
    if fitted.repeat_weight is not None:
        table.add_row("what a repeated draft counts for", f"{fitted.repeat_weight:g}", "", "0: nothing")
    for state, estimate in fitted.scores.items():
        row(f"mean score when {state}", estimate, "scores")
    for t, estimate in enumerate(fitted.hazard):
        row(f"hazard[{t}]: draft {t + 2} is the final one", estimate, "drafts")
    return table


def _interval(low: float, high: float) -> str:
    """Both ends in whole percent; an end may not be reached."""
    if not isfinite(low):
        return "none"
    return f"{100 * low:.0f}-{100 * high:.0f}%" if isfinite(high) else f">{100 * low:.0f}%"


def _per_thousand(cost: float) -> str:
    """Of so many dollars each; infinite: not reached."""
    return "none" if isinf(cost) else amount_of(1000 * cost)


def _written(value: float, unit: str = "", digits: int = 2) -> str:
    if not isfinite(value):
        return "none"
    return f"{value:.1%}" if unit else f"{value:.{digits}f}"
