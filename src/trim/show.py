"""Solutions in the terminal: steps coloured by author, with scores and rejected drafts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rich.console import Console
from rich.text import Text

from trim.types import Decision, Role, Trace

COLOURS = {Role.WEAK: "yellow", Role.STRONG: "cyan"}


async def live(console: Console, items: AsyncIterator[Decision | Trace]) -> Trace:
    """Print decisions as they fall; the trace at the end."""
    async for item in items:
        if isinstance(item, Trace):
            return item
        for line in lines(item):
            console.print(line, soft_wrap=False)
    raise AssertionError("a stream ends with its trace")


def lines(decision: Decision) -> list[Text]:
    """Rejected drafts, then the step that was kept."""
    drafts = [_line(draft.step.role, draft.step.text, draft.score, rejected=True) for draft in decision.rejected]
    score = decision.score if not decision.rejected else None
    line = _line(decision.step.role, decision.step.text, score)
    if decision.forced:
        line.append("  (a budget, limit or failure overruled the policy)", "dim")
    return [*drafts, line]


def _line(role: Role, text: str, score: float | None, *, rejected: bool = False) -> Text:
    line = Text()
    line.append(f"{role.value:>7} ", f"bold {COLOURS[role]}")
    line.append("     " if score is None else f"{score:.2f} ", "dim")
    line.append("✗ " if rejected else "  ", "red")
    line.append(text.replace("\n", " "), "dim strike" if rejected else COLOURS[role])
    return line


def summary(trace: Trace) -> Text:
    """One line of figures below a solution."""
    strong, weak = trace.usage[Role.STRONG], trace.usage[Role.WEAK]
    steps = sum(step.role is Role.STRONG for step in trace.steps)
    line = Text()
    line.append(f"answer {trace.answer if trace.answer is not None else 'none'}", "bold")
    if trace.correct is not None:
        line.append(" ✓ right" if trace.correct else " ✗ wrong", "bold green" if trace.correct else "bold red")
    line.append(
        f"   {steps} of {len(trace.steps)} steps by the strong model: {strong.completion_tokens} strong and "
        f"{weak.completion_tokens} weak tokens ({weak.discarded_tokens} discarded), {trace.seconds:.2f} s"
    )
    for fallback in trace.fallbacks:
        line.append(f"\n{fallback.role.value} failed, {fallback.to.value} went on: {fallback.error}", "red")
    if trace.stop_reason.value not in ("final_answer", "eos"):
        line.append(f"\nstopped: {trace.stop_reason.value.replace('_', ' ')}", "yellow")
    return line
