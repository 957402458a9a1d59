"""The estimates of `trim fit pomdp` as a table for the terminal."""

from __future__ import annotations

from rich.table import Table

from trim.pomdp.fit.estimation import PomdpFit
from trim.stats import Estimate


def fit_table(fitted: PomdpFit, task: str) -> Table:
    """One row an estimate, with its 95% confidence interval and how many observations it is from."""
    skipped = f", {fitted.skipped} without labels left out" if fitted.skipped else ""
    title = f"{task}: {fitted.traces} traces of {fitted.questions} questions{skipped}"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("estimate")
    for name in ("value", "95% CI", "from"):
        table.add_column(name, justify="right")

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
