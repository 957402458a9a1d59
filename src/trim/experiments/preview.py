"""What a run would do, said before it spends anything."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, isnan
from pathlib import Path

from trim.metrics.tally import Tally


@dataclass(frozen=True)
class Preview:
    """What is ahead of a run.

    Args:
        things: that are to be made: solutions, or recorded questions.
        points: operating points.
        questions: of the task.
        samples: of each.
        done: things that are there.
        models: a line for each.
        unpriced: a price that is missing; empty: none is.
        measured: things that the estimates are from.
        calls, seconds, cost: of what is to go, in dollars and seconds; None: nothing is there to estimate it by, or a
            price is missing.
        parts: what they are made of, in words; empty: points, questions and samples.
    """

    things: str
    points: int
    questions: int
    samples: int
    done: int
    models: tuple[str, ...]
    unpriced: str
    measured: int = 0
    calls: float | None = None
    seconds: float | None = None
    cost: float | None = None
    parts: str = ""

    @property
    def to_go(self) -> int:
        return max(0, self.points * self.questions * self.samples - self.done)


def by_what_is_there(tallies: list[Tally], to_go: int, concurrency: int) -> tuple[float, float, float | None]:
    """Calls, seconds and cost of so many more solutions like those that are there."""
    there = sum(len(tally.questions) for tally in tallies)
    calls = fsum(sum(tally.sums[2:4]) + len(tally.questions) for tally in tallies)
    seconds = fsum(fsum(tally.seconds) for tally in tallies) / concurrency
    cost = fsum(fsum(tally.cost) for tally in tallies)
    share = to_go / there
    return share * calls, share * seconds, None if isnan(cost) else share * cost


def has_run(folder: Path) -> bool:
    """Whether a folder has solutions."""
    traces = folder / "traces.jsonl"
    return traces.is_file() and traces.stat().st_size > 0
