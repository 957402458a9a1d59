"""Solutions in the terminal: steps coloured by model, with scores and rejected drafts."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.control import strip_control_codes
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from trim.reporting.money import dollars
from trim.types import Decision, Role, Step, Trace, Usage

_AT_ONCE, _FIRST_LINE, _LINES = 0.2, 5.0, 30.0  # seconds
COLOURS = {Role.WEAK: "yellow", Role.STRONG: "cyan"}


class _Terminal(Console):
    """Leaves it to the command line what follows when nobody reads the output any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A terminal that neither highlights numbers nor wraps softly."""
    return _Terminal(stderr=stderr, highlight=False, soft_wrap=False)


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error, with the time that is left; to be called with a name for each thing that is done. What
    is no terminal gets a line now and then instead.
    """
    if not console(stderr=True).is_terminal:
        yield _Lines(total)
        return
    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console(stderr=True)) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)


class _Lines:
    """Progress as lines, the first after a few seconds."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._started = self._begun = clock()
        self._next = self._started + _FIRST_LINE
        self._done = self._there = 0

    def __call__(self, name: str) -> None:
        """Count one thing that is done."""
        self._done, now = self._done + 1, self._clock()
        if now - self._started < _AT_ONCE:  # they were there before
            self._there, self._begun = self._done, now
        if now < self._next:
            return
        self._next = now + _LINES
        speed = (self._done - self._there) / max(now - self._begun, 1e-9)
        left = f", about {duration((self._total - self._done) / speed)} left" if speed else ""
        print(f"trim: {self._done:,} of {self._total:,} done ({name}){left}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time in the unit that fits, such as `40 s`, `12 min` or `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


async def live(screen: Console, items: AsyncIterator[Decision | Trace]) -> Trace:
    """Print decisions as they fall; the trace at the end."""
    async for item in items:
        if isinstance(item, Trace):
            return item
        screen.print(lines(item))
    raise AssertionError("a stream ends with its trace")


def lines(decision: Decision) -> Table:
    """Rejected drafts, then the step that was kept, with the models' own line breaks; long lines are wrapped under
    themselves.
    """
    grid = Table.grid(padding=(0, 1))
    for width in (6, 4, 1):
        grid.add_column(width=width, no_wrap=True)
    grid.add_column()
    for draft in decision.rejected:
        text = Text()  # the style on the words alone, else padding is struck through too
        text.append(_shown(draft.step), "dim strike")
        grid.add_row(*_model(draft.step.role, draft.score), Text("✗", "red"), text)
    text = Text(_shown(decision.step), COLOURS[decision.step.role])
    if decision.step.field != "content":
        text.append("  (reasoning)", "dim")
    if decision.forced:
        text.append("  (a budget, limit or failure overruled the policy)", "dim")
    grid.add_row(*_model(decision.step.role, None if decision.rejected else decision.score), " ", text)
    return grid


def _shown(step: Step) -> str:
    """Its text without what stands around it, and without the control characters that terminals obey."""
    return strip_control_codes(step.content.strip("\r\n").expandtabs(4))


def _model(role: Role, score: float | None) -> tuple[Text, Text]:
    return Text(role.value, f"bold {COLOURS[role]}"), Text("" if score is None else f"{score:.2f}", "dim")


def summary(trace: Trace, unpriced: str = "") -> Text:
    """The figures below a solution, each line short enough for a narrow terminal.

    Args:
        trace: of the solution.
        unpriced: the key of a price that is missing.
    """
    strong, weak = trace.usage[Role.STRONG], trace.usage[Role.WEAK]
    steps = sum(step.role is Role.STRONG for step in trace.steps)
    line = Text()
    line.append(f"answer {trace.answer if trace.answer is not None else 'none'}", "bold")
    if trace.correct is not None:
        line.append(" ✓ right" if trace.correct else " ✗ wrong", "bold green" if trace.correct else "bold red")
    cost = "" if trace.cost is None else f"cost {dollars(trace.cost)}, "
    discarded = f"({weak.discarded_tokens} discarded)"
    line.append(
        f"   {steps} of {len(trace.steps)} steps by the strong model\n"
        f"{_tokens(strong)} strong and {_tokens(weak)} weak tokens {discarded}, {cost}{trace.seconds:.2f} s"
    )
    if trace.cost is None:
        line.append(f"\ncost unknown: {unpriced or 'a price'} is not set", "dim")
    if trace.estimated:
        line.append("\n~ some token counts are estimates", "dim")
    for fallback in trace.fallbacks:
        line.append(f"\n{fallback.role.value} failed, fallback to {fallback.to.value}: {fallback.error}", "red")
    if trace.stop_reason.value not in ("final_answer", "eos"):
        line.append(f"\nstopped: {trace.stop_reason.value.replace('_', ' ')}", "yellow")
    return line


def _tokens(usage: Usage) -> str:
    return f"{'~' if usage.estimated else ''}{usage.completion_tokens}"
