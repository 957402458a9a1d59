"""What query-level routers are trained on: what weak and strong model made of the same questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def examples(traces: Iterable[Trace]) -> list[Example]:
    """The questions that both models answered, in the order of the traces; each sample of one is an example.

    Raises:
        ConfigError: there are fewer than 20.
    """
    by_sample: dict[tuple[str, int], list[Trace]] = {}
    for trace in traces:
        by_sample.setdefault((trace.question.text, trace.seed), []).append(trace)
    made = [example for recorded in by_sample.values() if (example := _example(recorded)) is not None]
    if len(made) < FEWEST:
        raise ConfigError(
            f"{len(made)} questions with both always-weak and always-strong in the traces, at least {FEWEST} are needed"
        )
    return made


def _example(recorded: Sequence[Trace]) -> Example | None:
    """Of the traces of one sample of a question; None where one of the two models did not answer it."""
    last = {trace.policy: trace for trace in recorded}
    if not {"always-weak", "always-strong"} <= set(last):
        return None
    weak, strong = last["always-weak"], last["always-strong"]
    samples = [trace for trace in recorded if trace.policy == WEAK_SAMPLE]
    others = [trace for trace in recorded if trace.policy not in ("always-weak", "always-strong", WEAK_SAMPLE)]
    third = next(iter(others + samples), None)
    return Example(
        weak.question,
        bool(weak.correct),
        bool(strong.correct),
        weak.text,
        strong.text,
        third.text if third else None,
        agreeing(weak.answer, [sample.answer for sample in samples]) if samples else None,
    )


def needed(rows: Sequence[Example]) -> FloatArray:
    """1 where the strong model is right and the weak one wrong, else 0: also where both are wrong, as there a strong
    call buys nothing. Shape (N,).
    """
    return np.array([row.strong_right and not row.weak_right for row in rows], float)
