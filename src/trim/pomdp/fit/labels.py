"""Step labels of traces, and the labelled observations that a policy decided on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from trim.pomdp.observation import STATES
from trim.types import Action, Draft, Finish, Observation, Question, Step, Trace

WRONG_BELOW = 0.35
"""Scores below it count as wrong in the paper's shortcut for step labels."""

_CORRECT, _RECOVERABLE, _LOST = range(3)
_UNSELECTIVE = ("always-weak", "random")  # policies whose kept drafts are as good as the rejected ones


@dataclass(frozen=True)
class StepLabels:
    """Which texts of a trace are correct, all steps before them being correct as well. One entry per position.

    `drafts` and `strong_texts` have a label for each of `Decision.drafts` and `Decision.strong_texts`, or none where
    labels are unknown.
    """

    kept: tuple[bool, ...]
    drafts: tuple[tuple[bool, ...], ...]
    strong_texts: tuple[tuple[bool, ...], ...]


Labeller = Callable[[Trace], StepLabels | None]
"""Returns the labels of a trace; None if it has none."""


def label_by_rule(rule: Callable[[Question, Sequence[str]], tuple[bool, ...]]) -> Labeller:
    """Labels by a task's rule (`Task.step_labels`)."""

    def label(trace: Trace) -> StepLabels:
        texts = tuple(step.content for step in trace.steps)
        kept = rule(trace.question, texts)

        def right(t: int, drafts: Sequence[Draft]) -> tuple[bool, ...]:
            written = (draft.step.content for draft in drafts)
            return tuple(
                kept[t] if text == texts[t] else rule(trace.question, (*texts[:t], text))[-1] for text in written
            )

        return StepLabels(
            kept,
            tuple(right(t, decision.drafts) for t, decision in enumerate(trace.decisions)),
            tuple(right(t, decision.strong_texts) for t, decision in enumerate(trace.decisions)),
        )

    return label


def label_by_prm(trace: Trace) -> StepLabels | None:
    """The paper's shortcut, which needs no rule: all steps of a correct solution are correct.

    The first wrong step of a wrong solution is the first that scores below 0.35, else the lowest-scored one.
    Drafts that were replaced stay unlabelled, so only traces of policies that ignore scores can be used, recorded with
    scores.
    """
    scores = [decision.kept_score for decision in trace.decisions]
    known = [(score, t) for t, score in enumerate(scores) if score is not None]
    if trace.policy not in _UNSELECTIVE or trace.correct is None or len(known) < len(scores) - 1:
        return None
    first = next((t for score, t in known if score < WRONG_BELOW), min(known, default=(0.0, 0))[1])
    kept = tuple(trace.correct or t < first for t in range(len(scores)))
    weak = [d.action is Action.CONTINUE for d in trace.decisions]
    drafts = tuple((right,) if by_weak else () for right, by_weak in zip(kept, weak, strict=True))
    strong_texts = tuple(() if by_weak else (right,) for right, by_weak in zip(kept, weak, strict=True))
    return StepLabels(kept, drafts, strong_texts)


def labelled_points(scores: Sequence[float], first_wrong: int) -> dict[str, list[tuple[float, float]]]:
    """(min of previous scores, score) by state for the steps of one solution, as in ProcessBench: `first_wrong` is the
    0-based index of the first wrong step, -1 if there is none.
    """
    points: dict[str, list[tuple[float, float]]] = {state: [] for state in STATES}
    lowest = 1.0
    for t, score in enumerate(scores):
        state = _CORRECT if first_wrong < 0 or t < first_wrong else _RECOVERABLE if t == first_wrong else _LOST
        points[STATES[state]].append((lowest, score))
        lowest = min(lowest, score)
    return points


@dataclass(frozen=True)
class LabelledDraft:
    """A draft as a policy sees it, and its true state (index in `trim.pomdp.STATES`)."""

    observation: Observation
    state: int


def best_of(texts: Sequence[Draft]) -> int:
    """Index of the text that the Router keeps: the best-scored one, the first of equals."""
    return max(range(len(texts)), key=lambda n: (-1.0 if texts[n].score is None else texts[n].score, -n))


def labelled_drafts(trace: Trace, labels: StepLabels, ends: Callable[[str], bool]) -> Iterator[LabelledDraft]:
    """The first draft of each position that has a label, the scores of all steps up to it being known."""
    for t, decision in enumerate(trace.decisions):
        past, draft = trace.decisions[:t], decision.drafts[0].step if decision.drafts else None
        scores = [d.kept_score for d in past] + [decision.drafts[0].score if decision.drafts else None]
        known = [score for score in scores if score is not None]
        if draft is None or not labels.drafts[t] or len(known) < len(scores):
            continue
        observation = Observation(
            scores=tuple(known),
            tokens=(*(d.step.tokens for d in past), draft.tokens),
            actions=tuple(d.action for d in past),
            final=is_final(draft, ends),
            draft_scores=tuple(() if d.score is None else (d.score,) for d in past),
            strong_scores=(*(tuple(r.score for r in d.strong_texts if r.score is not None) for d in past), ()),
        )
        sound = t == 0 or labels.kept[t - 1]
        yield LabelledDraft(observation, _LOST if not sound else _CORRECT if labels.drafts[t][0] else _RECOVERABLE)


def labelled_resamples(trace: Trace, labels: StepLabels, ends: Callable[[str], bool]) -> Iterator[LabelledDraft]:
    """Each later draft of a position as a policy sees it, and the true state of the best-scored one so far."""
    for first in labelled_drafts(trace, labels, ends):
        t = len(first.observation.tokens) - 1
        drafts, rights = trace.decisions[t].drafts, labels.drafts[t]
        scores = tuple(draft.score for draft in drafts if draft.score is not None)
        for n in range(2, len(drafts) + 1 if len(scores) == len(drafts) else 0):
            observation = replace(
                first.observation,
                scores=(*first.observation.scores[:-1], scores[n - 1]),
                drafts=n,
                draft_scores=(*first.observation.draft_scores[:t], scores[:n]),
            )
            right = rights[best_of(drafts[:n])]
            yield LabelledDraft(observation, _LOST if first.state == _LOST else _CORRECT if right else _RECOVERABLE)


def is_final(step: Step, ends: Callable[[str], bool]) -> bool:
    """Whether a step is the last one; `ends` says whether a text holds a final answer."""
    return step.finish is Finish.EOS or ends(step.content)
