"""What is behind the operating points, from one pass over traces: tokens, where the strong model wrote, the PRM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from trim.metrics.judge_quality import ReliabilityBin, reliability
from trim.metrics.score_calibration import Points
from trim.policies.registry import FAMILIES, Need
from trim.types import Action, Question, Role, Trace

Key = tuple[str, float | None]
Labeller = Callable[[Question, Sequence[str]], tuple[bool, ...]]

POSITIONS = 12
"""Positions in a solution that are counted separately; the last stands for all that follow."""
KINDS = ("weak kept", "weak discarded", "strong kept", "strong discarded", "weak prompts", "strong prompts", "PRM read")
"""What tokens are spent on."""

_OTHER_JUDGES = tuple(
    name for name, family in FAMILIES.items() if family.needs & {Need.STEP_LABELS, Need.STRONG_JUDGE}
)  # their scores are not the configured judge's


@dataclass
class Breakdown:
    """Sums over the solutions of one operating point.

    `tokens` by what they were spent on; `steps` and `strong_steps` by position in the solution.
    """

    solutions: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    steps: list[int] = field(default_factory=lambda: [0] * POSITIONS)
    strong_steps: list[int] = field(default_factory=lambda: [0] * POSITIONS)

    def add(self, trace: Trace) -> None:
        """Count one solution, its tokens and its steps by position."""
        self.solutions += 1
        weak, strong, prm = (trace.usage[role] for role in (Role.WEAK, Role.STRONG, Role.PRM))
        spent = (
            weak.completion_tokens - weak.discarded_tokens,
            weak.discarded_tokens,
            strong.completion_tokens - strong.discarded_tokens,
            strong.discarded_tokens,
            weak.prompt_tokens,
            strong.prompt_tokens,
            prm.prompt_tokens,
        )
        for kind, tokens in zip(KINDS, spent, strict=True):
            self.tokens[kind] += tokens
        for index, step in enumerate(trace.steps):
            place = min(index, POSITIONS - 1)
            self.steps[place] += 1
            self.strong_steps[place] += step.role is Role.STRONG


@dataclass(frozen=True)
class RunBreakdown:
    """Breakdowns by operating point, and the PRM's calibration over their drafts (empty: no labels or no scores)."""

    points: dict[Key, Breakdown]
    calibration: tuple[ReliabilityBin, ...]


def break_down(traces: Iterable[Trace], wanted: set[Key], labeller: Labeller | None) -> RunBreakdown:
    """Read the traces once.

    Args:
        traces: of a run.
        wanted: operating points to look at.
        labeller: which steps are right, if the task has a rule; drafts behind a wrong step are left out, since there
            is no rule any more for which of them are right. A draft that several policies got is counted once.
    """
    points: dict[Key, Breakdown] = {}
    scored: dict[tuple[str, ...], tuple[float, bool]] = {}
    for trace in traces:
        key = (trace.policy, trace.parameter)
        if key not in wanted:
            continue
        points.setdefault(key, Breakdown()).add(trace)
        if labeller is not None and trace.policy not in _OTHER_JUDGES:
            scored.update(_scored_drafts(trace, labeller))
    scores, rights = (np.array([each[i] for each in scored.values()], float) for i in (0, 1))
    return RunBreakdown(points, reliability(Points(scores, rights)))


def _scored_drafts(trace: Trace, labeller: Labeller) -> Iterator[tuple[tuple[str, ...], tuple[float, bool]]]:
    """Scores of the drafts of a solution that follow right steps only, and whether each is right. Each is named by its
    question, the steps before it and its text: the same draft of several policies or samples has one score.
    """
    kept: list[str] = []
    for decision in trace.decisions:
        drafts = [(draft.step.content, draft.score) for draft in decision.rejected]
        if decision.action is Action.CONTINUE:
            drafts.append((decision.step.content, decision.score))
        for text, score in drafts:
            if score is not None:
                yield (trace.question.id, *kept, text), (score, labeller(trace.question, (*kept, text))[-1])
        kept.append(decision.step.content)
        if not labeller(trace.question, kept)[-1]:
            return
