"""What is kept of each solution of an operating point, and what several points made of the same questions."""

from __future__ import annotations

import sys
from array import array
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np

from trim.stats import FloatArray
from trim.types import Prices, Role, Trace


@dataclass(slots=True)
class Measured:
    """What the requests of some solutions really took: it depends on timing, and on what ran before."""

    cost: float | None = 0.0
    weak_tokens: int = 0
    strong_tokens: int = 0
    prm_tokens: int = 0
    cached_tokens: int = 0  # of all prompts

    def add(self, trace: Trace) -> None:
        """Count one solution; traces of earlier versions have only what was measured."""
        used = trace.measured or trace.usage
        self.cost = Prices.total((self.cost, trace.measured_cost if trace.measured else trace.cost))
        self.weak_tokens += used[Role.WEAK].completion_tokens
        self.strong_tokens += used[Role.STRONG].completion_tokens
        self.prm_tokens += used[Role.PRM].prompt_tokens
        self.cached_tokens += sum(of_role.cached_tokens for of_role in used.values())


@dataclass
class Tally:
    """What is kept of each solution, 37 bytes however long it is: an entry in each column, in the order they came.

    Args:
        questions: ids; several solutions of one question are samples of it.
        right, strong_tokens, cost: what the bootstrap needs of each; a cost that is not known is nan.
        seeds: which sample each is.
        seconds: what each took.
        sums: over all solutions, charged: weak tokens, discarded weak tokens, strong calls, PRM calls, PRM tokens.
        measured: over all solutions, what requests really took: see `Measured`.
        fallbacks: solutions in which a fallback stood in for a failed model.
        estimated: solutions some of whose token counts are estimates.
        failed: solutions whose text a server refused; they count as wrong.
    """

    questions: list[str] = field(default_factory=list)
    right: MutableSequence[int] = field(default_factory=lambda: array("b"))
    strong_tokens: MutableSequence[float] = field(default_factory=lambda: array("d"))
    cost: MutableSequence[float] = field(default_factory=lambda: array("d"))
    seeds: MutableSequence[int] = field(default_factory=lambda: array("q"))
    seconds: MutableSequence[float] = field(default_factory=lambda: array("f"))
    sums: list[int] = field(default_factory=lambda: [0] * 5)
    measured: Measured = field(default_factory=Measured)
    fallbacks: int = 0
    estimated: int = 0
    failed: int = 0

    def add(self, trace: Trace) -> None:
        """Append one solution to every column."""
        weak, strong, prm = (trace.usage[role] for role in (Role.WEAK, Role.STRONG, Role.PRM))
        self.questions.append(sys.intern(trace.question.id))  # one text for all points
        self.right.append(bool(trace.correct))
        self.strong_tokens.append(strong.completion_tokens)
        self.cost.append(nan if trace.cost is None else trace.cost)
        self.seeds.append(trace.seed)
        self.seconds.append(trace.seconds)
        spent = (weak.completion_tokens, weak.discarded_tokens, strong.calls, prm.calls, prm.prompt_tokens)
        self.sums = [total + one for total, one in zip(self.sums, spent, strict=True)]
        self.fallbacks += bool(trace.fallbacks)
        self.estimated += trace.estimated
        self.measured.add(trace)
        self.failed += trace.failed


def common_questions(tallies: Sequence[Tally]) -> tuple[str, ...]:
    """The questions that all of them answered, sorted.

    Raises:
        ValueError: no tallies, or no such question.
    """
    common = set(tallies[0].questions) if tallies else set()
    for tally in tallies[1:]:
        common.intersection_update(tally.questions)
    if not common:
        raise ValueError(f"no question was answered at all of {len(tallies)} points")
    return tuple(sorted(common))


def question_means(tallies: Sequence[Tally], questions: Sequence[str]) -> FloatArray:
    """Right, strong tokens and cost of these questions, the mean over the samples of each: shape (P, 3, Q)."""
    place = {question: index for index, question in enumerate(questions)}
    table = np.empty((len(tallies), 3, len(questions)))
    for tally, rows in zip(tallies, table, strict=True):
        where = np.fromiter((place.get(question, -1) for question in tally.questions), np.int64, len(tally.questions))
        order = np.lexsort((np.asarray(tally.cost), where))  # the same sums in whatever order solutions were done
        where = where[order]
        wanted = where >= 0
        samples = np.bincount(where[wanted], minlength=len(questions))
        for row, column in zip(rows, (tally.right, tally.strong_tokens, tally.cost), strict=True):
            row[:] = np.bincount(where[wanted], np.asarray(column, float)[order][wanted], len(questions)) / samples
    return table
