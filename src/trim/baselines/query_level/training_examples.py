"""What query-level routers are trained on: what weak and strong model made of the same questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from trim.baselines.query_level.cascade import agreeing
from trim.baselines.query_level.solvers import WEAK_SAMPLE
from trim.errors import ConfigError
from trim.stats import FloatArray
from trim.types import Question, Trace

FEWEST = 20


@dataclass(frozen=True)
class Example:
    """A question with both outcomes; texts are whole solutions. `third` is some other policy's, `votes` how many
    further weak samples agree with the weak answer; both None where nothing of the kind was recorded.
    """

    question: Question
    weak_right: bool
    strong_right: bool
    weak_text: str
    strong_text: str
    third_text: str | None = None
    votes: int | None = None


@dataclass
class _Outcomes:
    weak: Trace | None = None
    strong: Trace | None = None
    third: Trace | None = None
    samples: list[Trace] = field(default_factory=list)


def examples(traces: Iterable[Trace]) -> list[Example]:
    """The questions that both models answered, in the order of the traces; each sample of one is an example.

    Raises:
        ConfigError: there are fewer than 20.
    """
    found: dict[tuple[str, int], _Outcomes] = {}
    for trace in traces:
        outcome = found.setdefault((trace.question.text, trace.seed), _Outcomes())
        if trace.policy == "always-weak":
            outcome.weak = trace
        elif trace.policy == "always-strong":
            outcome.strong = trace
        elif trace.policy == WEAK_SAMPLE:
            outcome.samples.append(trace)
        elif outcome.third is None:
            outcome.third = trace
    made = [
        _example(outcome.weak, outcome.strong, outcome)
        for outcome in found.values()
        if outcome.weak is not None and outcome.strong is not None
    ]
    if len(made) < FEWEST:
        raise ConfigError(
            f"{len(made)} questions with both always-weak and always-strong in the traces, at least {FEWEST} are needed"
        )
    return made


def _example(weak: Trace, strong: Trace, outcome: _Outcomes) -> Example:
    third = outcome.third or (outcome.samples[0] if outcome.samples else None)
    votes = agreeing(weak.answer, [sample.answer for sample in outcome.samples]) if outcome.samples else None
    return Example(
        weak.question,
        bool(weak.correct),
        bool(strong.correct),
        weak.text,
        strong.text,
        third.text if third else None,
        votes,
    )


def needed(rows: Sequence[Example]) -> FloatArray:
    """1 where the strong model is right and the weak one wrong, else 0: also where both are wrong, as there a strong
    call buys nothing. Shape (N,).
    """
    return np.array([row.strong_right and not row.weak_right for row in rows], float)
