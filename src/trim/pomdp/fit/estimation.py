"""Estimates of a `PomdpModel` from recorded traces of a pair: step accuracies, hazard, lengths and scores by state.

Every text that was on the table is labelled in the prefix that it stood in: the weak model's drafts, kept or rejected,
and the strong model's steps. Which drafts a policy chose to replace does not bias the estimates as long as labels come
from a rule: all drafts are labelled, and strong steps are counted by whether the draft that they replaced was correct.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from math import ceil, hypot
from typing import Any

import numpy as np

from trim.errors import TraceError
from trim.pomdp.belief import filter_belief
from trim.pomdp.fit.labels import (
    LabelledDraft,
    Labeller,
    StepLabels,
    best_of,
    is_final,
    labelled_drafts,
    labelled_resamples,
)
from trim.pomdp.fit.resample_pairs import ResampleFit, ResamplePair, find_resample_pairs, fit_resamples
from trim.pomdp.model import PomdpModel
from trim.pomdp.observation import STATES, FloatArray, ObservationBins, quantile_bins
from trim.stats import Estimate, mean, proportion
from trim.types import Role, Step, Trace

_CORRECT, _RECOVERABLE, _LOST = range(3)
_MIN_REPAIRS = 20  # correct and wrong ones each
_MIN_FINAL = 50  # final drafts, and others, with nothing wrong before them
_MIN_LATER, _MAX_LATER = 200, 4_000  # drafts after a first one, for the weights of past scores and of repetitions
_PAST_WEIGHTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_REPEAT_WEIGHTS = (1.0, 0.5, 0.25, 0.0)
_REACHES, _SPARSE_REACHES = (8, 4, 2), (4, 2, 1)  # candidates for the kernel's width in bins, for many and few points
_FOLDS = 5  # of the cross-validation that chooses among them
_SMOOTHING = 5.0  # weight of the neighbouring steps in the hazard, in drafts
_ADVICE = (
    "; best are traces of random steps with scores, which hold both models' steps everywhere: "
    "trim eval --policies random --parameters random=0.5 --score"
)


@dataclass(frozen=True)
class PomdpFit:
    """A fitted model, and its numbers with confidence intervals.

    Args:
        model: the fit.
        weak_accuracy: p_w; without drafts that end the solution where those have an accuracy of their own.
        final_accuracy: of drafts that end the solution; None where there are too few of them or of others.
        strong_accuracy: p_s.
        strong_accuracy_if_correct: q_C; None where no strong step replaced a labelled draft.
        strong_accuracy_if_wrong: q_R; None likewise, and then taken to be p_s, as in the paper.
        resamples: drafts that follow another one of the same step; None where there are too few.
        repeat_weight: weight of a repetition as evidence, chosen by likelihood (`ResampleModel.with_repeat_weight`);
            None without `resamples`.
        revise: strong texts that follow another one of the same step; None where there are too few.
        step_tokens: mean tokens of a draft.
        hazard: by step, as counted, before smoothing.
        scores: mean scores by state.
        points: the data behind them, arrays of shape (n, 2): (min of previous scores, score).
        questions, traces: how many were used.
        skipped: traces without labels.
    """

    model: PomdpModel
    weak_accuracy: Estimate
    final_accuracy: Estimate | None
    strong_accuracy: Estimate
    strong_accuracy_if_correct: Estimate | None
    strong_accuracy_if_wrong: Estimate | None
    resamples: ResampleFit | None
    repeat_weight: float | None
    revise: ResampleFit | None
    step_tokens: Estimate
    hazard: tuple[Estimate, ...]
    scores: Mapping[str, Estimate]
    points: Mapping[str, FloatArray]
    questions: int
    traces: int
    skipped: int


def fit(
    traces: Iterable[Trace],
    label: Labeller,
    ends: Callable[[str], bool],
    *,
    points: Mapping[str, FloatArray] | None = None,
) -> PomdpFit:
    """Estimate everything that a `PomdpModel` has.

    Args:
        traces: of one pair and task, any policies. Of several texts of a step by one model the first one counts, as the
            policy asked for the others because of what it saw; those serve to estimate resamples and revisions.
        label: says which steps are correct; `label_by_rule` or `label_by_prm`.
        ends: whether a step's text holds a final answer (`StepFormat.has_answer`).
        points: scores by state from elsewhere, such as ProcessBench, instead of those in the traces.

    Raises:
        TraceError: too few data; the message says of what, and about how many more questions are needed.
    """
    data = _Data.of(traces, label, ends)
    evidence = _Evidence.of(data.texts, points)
    evidence.require_enough(data.skipped)
    inner, final = ([text for text in evidence.weak if text.final is last] for last in (False, True))
    apart = min(len(inner), len(final)) >= _MIN_FINAL
    weak = _accuracy(inner if apart else evidence.weak)
    replacing = evidence.for_correct, evidence.for_wrong
    if_correct, if_wrong = (_accuracy(texts) if texts else None for texts in replacing)
    strong = (
        _accuracy(evidence.strong) if if_correct is None or if_wrong is None else _mixture(weak, if_correct, if_wrong)
    )
    tokens = mean([text.tokens for text in evidence.drafts], [text.question for text in evidence.drafts])
    counted = _hazard(evidence.drafts)
    resamples, revise = fit_resamples(data.draft_pairs), fit_resamples(data.strong_pairs)
    model = PomdpModel(
        weak.value,
        strong.value,
        _smooth(counted),
        _bins(evidence.points, evidence.groups, _REACHES),
        tokens.value,
        None if if_correct is None or if_wrong is None else if_wrong.value,
        None if resamples is None else resamples.model,
        None if if_correct is None or if_wrong is None else evidence.agreement(if_correct.value, if_wrong.value),
        evidence.repair_observation(),
        (sum(text.state == _CORRECT for text in final) + 0.5) / (len(final) + 1) if apart else None,
        revise_model=None if revise is None else revise.model,
        resample_observation=_resample_observation(data.draft_pairs),
    )
    model, repeat_weight = _choose_weights(model, data)
    return PomdpFit(
        model=model,
        weak_accuracy=weak,
        final_accuracy=_accuracy(final) if apart else None,
        strong_accuracy=strong,
        strong_accuracy_if_correct=if_correct,
        strong_accuracy_if_wrong=if_wrong,
        resamples=resamples,
        repeat_weight=repeat_weight,
        revise=revise,
        step_tokens=tokens,
        hazard=counted,
        scores={state: mean(found[:, 1], evidence.groups[state]) for state, found in evidence.points.items()},
        points=evidence.points,
        questions=evidence.questions,
        traces=data.used,
        skipped=data.skipped,
    )


# Evidence -------------------------------------------------------------------------------------------------------


@dataclass
class _Data:
    """What labelled traces hold: all texts, the drafts as the filter sees them, and pairs of texts of one step."""

    texts: list[_LabelledText] = field(default_factory=list)
    drafts: list[LabelledDraft] = field(default_factory=list)  # first drafts
    later_drafts: list[LabelledDraft] = field(default_factory=list)
    draft_pairs: list[ResamplePair] = field(default_factory=list)
    strong_pairs: list[ResamplePair] = field(default_factory=list)
    used: int = 0  # traces
    skipped: int = 0  # traces without labels

    @classmethod
    def of(cls, traces: Iterable[Trace], label: Labeller, ends: Callable[[str], bool]) -> _Data:
        data = cls()
        for trace in traces:
            labels = label(trace)
            if labels is None:
                data.skipped += 1
                continue
            data.used += 1
            data.texts += _labelled_texts(trace, labels, ends)
            data.drafts += labelled_drafts(trace, labels, ends)
            data.later_drafts += labelled_resamples(trace, labels, ends)
            data.draft_pairs += find_resample_pairs(trace, labels, Role.WEAK)
            data.strong_pairs += find_resample_pairs(trace, labels, Role.STRONG)
        return data


@dataclass(frozen=True, slots=True)
class _LabelledText:
    """A text on the table and its state. `pair` is (min of previous scores, score) where both are known."""

    question: str
    step: int
    role: Role
    state: int
    final: bool
    tokens: int
    pair: tuple[float, float] | None
    draft_correct: bool | None = None  # of a strong step: whether the draft that it replaced was
    agrees: bool = False  # a strong step that repeats the draft word for word


def _labelled_texts(trace: Trace, labels: StepLabels, ends: Callable[[str], bool]) -> Iterator[_LabelledText]:
    """The first text of each model at each position; later ones are there because of what the policy saw."""
    lowest: float | None = 1.0
    prefix_correct = True

    def text(
        t: int, step: Step, score: float | None, *, correct: bool, replaced: bool | None = None, agrees: bool = False
    ) -> _LabelledText:
        state = _LOST if not prefix_correct else _CORRECT if correct else _RECOVERABLE
        final = is_final(step, ends)
        pair = None if lowest is None or score is None else (lowest, score)
        return _LabelledText(trace.question.text, t, step.role, state, final, step.tokens, pair, replaced, agrees)

    for t, decision in enumerate(trace.decisions):
        drafts_correct = labels.drafts[t]
        if drafts_correct:
            first = decision.drafts[0]
            yield text(t, first.step, first.score, correct=drafts_correct[0])
        if decision.step.role is Role.STRONG:
            best = best_of(decision.drafts) if drafts_correct else None
            replaced = None if best is None else drafts_correct[best]
            first = decision.strong_texts[0]
            agrees = best is not None and decision.drafts[best].step.content == first.step.content
            correct = labels.strong_texts[t][0]
            yield text(t, first.step, first.score, correct=correct, replaced=replaced, agrees=agrees)
        prefix_correct = labels.kept[t]
        lowest = None if lowest is None or decision.kept_score is None else min(lowest, decision.kept_score)


@dataclass(frozen=True)
class _Evidence:
    """The labelled texts, sorted by the estimates that they serve."""

    drafts: list[_LabelledText]
    weak: list[_LabelledText]  # drafts with nothing wrong before them
    strong: list[_LabelledText]  # strong steps with nothing wrong before them
    for_correct: list[_LabelledText]  # those of them that replaced a correct draft
    for_wrong: list[_LabelledText]
    for_lost: list[_LabelledText]  # strong steps after a wrong one
    points: Mapping[str, FloatArray]
    groups: Mapping[str, Sequence[str]]  # the question of each point
    questions: int

    @classmethod
    def of(cls, texts: list[_LabelledText], points: Mapping[str, FloatArray] | None) -> _Evidence:
        correct_before = [text for text in texts if text.state != _LOST]
        strong = [text for text in correct_before if text.role is Role.STRONG]
        if points is None:
            scored = [[text for text in texts if text.pair and text.state == s] for s in range(len(STATES))]
            points = {STATES[s]: np.array([t.pair for t in found]).reshape(-1, 2) for s, found in enumerate(scored)}
            groups = {STATES[s]: [text.question for text in found] for s, found in enumerate(scored)}
        else:
            groups = {state: [str(n) for n in range(len(found))] for state, found in points.items()}
        return cls(
            drafts=[text for text in texts if text.role is Role.WEAK],
            weak=[text for text in correct_before if text.role is Role.WEAK],
            strong=strong,
            for_correct=[text for text in strong if text.draft_correct is True],
            for_wrong=[text for text in strong if text.draft_correct is False],
            for_lost=[t for t in texts if t.state == _LOST and t.role is Role.STRONG and t.draft_correct is not None],
            points=points,
            groups=groups,
            questions=len({text.question for text in texts}),
        )

    def agreement(self, if_correct: float, if_wrong: float) -> tuple[float, float, float]:
        """P(a strong step repeats the draft | the draft's state), with a pseudo-count: no state is ruled out."""
        replaced = (self.for_correct, self.for_wrong, self.for_lost)
        shares = [(sum(text.agrees for text in found) + 0.5) / (len(found) + 1) for found in replaced]
        return min(shares[0], if_correct), min(shares[1], 1 - if_wrong), shares[2]  # labels may be noisy

    def repair_observation(self) -> ObservationBins | None:
        """Scores of strong steps that differ from the draft; None where there are too few.

        Of those after a wrong step there are hardly any: wrong ones stand for them.
        """
        others = [t for t in (*self.for_correct, *self.for_wrong) if t.pair is not None and not t.agrees]
        right, wrong = ([t for t in others if t.state == state] for state in (_CORRECT, _RECOVERABLE))
        if min(len(right), len(wrong)) < _MIN_REPAIRS:
            return None
        by_state = dict(zip(STATES, (right, wrong, wrong), strict=True))
        points = {state: np.array([text.pair for text in texts]) for state, texts in by_state.items()}
        return _score_bins(points, {state: [text.question for text in texts] for state, texts in by_state.items()})

    def require_enough(self, skipped: int) -> None:
        """Raise `TraceError` where an estimate would rest on too few data."""
        needs = [
            (len(self.weak), 50, "weak drafts with nothing wrong before them"),
            (len(self.strong), 30, "strong steps with nothing wrong before them"),
            (len(self.points["CORRECT"]), 50, "scores of correct steps"),
            (len(self.points["RECOVERABLE"]), 30, "scores of first wrong steps"),
            (len(self.points["LOST"]), 30, "scores of steps after a wrong one"),
            (sum(text.step > 0 for text in self.drafts), 30, "drafts after a first step"),
        ]
        if self.for_correct or self.for_wrong:
            needs.append((len(self.for_correct), 20, "strong steps in place of correct drafts"))
            needs.append((len(self.for_wrong), 20, "strong steps in place of wrong drafts"))
        missing = [need for need in needs if need[0] < need[1]]
        if not missing:
            return
        counts = ", ".join(f"{have} {what} ({least} needed)" for have, least, what in missing)
        worst = max(least / max(have, 0.5) for have, least, _ in missing)
        more = ceil((worst - 1) * max(self.questions, 1))
        left_out = f" ({skipped} traces have no labels and were left out)" if skipped else ""
        raise TraceError(
            f"too few data from {self.questions} questions{left_out}: {counts}; about {more} more questions would do"
            + _ADVICE
        )


# Scores ---------------------------------------------------------------------------------------------------------


def _bins(
    points: Mapping[str, FloatArray], groups: Mapping[str, Sequence[str]], reaches: Sequence[int], **options: Any
) -> ObservationBins:
    """Quantile bins; the kernel's width is the one that predicts the states of held-out questions' texts best."""
    fold = {state: np.array([zlib.crc32(name.encode()) % _FOLDS for name in groups[state]]) for state in STATES}

    def negative_log_likelihood(reach: int) -> float:
        found: list[list[FloatArray]] = [[] for _ in STATES]
        for k in range(_FOLDS):
            fitted = quantile_bins({s: p[fold[s] != k] for s, p in points.items()}, reach=reach, **options)
            for n, state in enumerate(STATES):
                likelihoods = fitted.score_likelihoods(points[state][fold[state] == k])
                found[n].append(-np.log(likelihoods[:, n] / likelihoods.sum(axis=1)))
        return float(np.mean([np.concatenate(parts).mean() for parts in found]))

    return quantile_bins(points, reach=min(reaches, key=negative_log_likelihood), **options)


def _score_bins(points: Mapping[str, FloatArray], groups: Mapping[str, Sequence[str]]) -> ObservationBins:
    """Quantile bins of few points; the min of earlier scores is ignored."""
    return _bins(points, groups, _SPARSE_REACHES, minimum_bins=1, score_bins=24, pseudo_counts=0.0)


def _resample_observation(pairs: Sequence[ResamplePair]) -> ObservationBins | None:
    """Scores of drafts that differ from all earlier ones, by their own state; None where there are too few."""
    found: dict[str, list[ResamplePair]] = {state: [] for state in STATES}
    for pair in pairs:
        state = _LOST if pair.best_state == _LOST else _CORRECT if pair.correct else _RECOVERABLE
        if pair.new and pair.scores[1] is not None:
            found[STATES[state]].append(pair)
    if min(map(len, found.values())) < _MIN_REPAIRS:
        return None
    points = {state: np.array([(1.0, pair.scores[1]) for pair in new], float) for state, new in found.items()}
    return _score_bins(points, {state: [pair.question for pair in new] for state, new in found.items()})


# Estimates ------------------------------------------------------------------------------------------------------


def _accuracy(texts: list[_LabelledText]) -> Estimate:
    """The share of correct texts."""
    return proportion([text.state == _CORRECT for text in texts], [text.question for text in texts])


def _mixture(weak: Estimate, if_correct: Estimate, if_wrong: Estimate) -> Estimate:
    """p_s = p_w q_C + (1 - p_w) q_R, as if every draft had been replaced. The interval's half widths add in squares."""
    p, gap = weak.value, if_correct.value - if_wrong.value
    value = p * if_correct.value + (1 - p) * if_wrong.value
    low, high = (
        hypot(
            p * (if_correct.value - if_correct_bound),
            (1 - p) * (if_wrong.value - if_wrong_bound),
            gap * (weak.value - weak_bound),
        )
        for if_correct_bound, if_wrong_bound, weak_bound in (
            (if_correct.low, if_wrong.low, weak.low if gap > 0 else weak.high),
            (if_correct.high, if_wrong.high, weak.high if gap > 0 else weak.low),
        )
    )
    return Estimate(value, max(value - low, 0.0), min(value + high, 1.0), if_correct.count + if_wrong.count)


def _choose_weights(model: PomdpModel, data: _Data) -> tuple[PomdpModel, float | None]:
    """The model with the most likely weights of past scores and of repetitions, and the latter weight."""
    after_first = [draft for draft in data.drafts if len(draft.observation.scores) > 1]
    model = _likeliest([replace(model, past_weight=weight) for weight in _PAST_WEIGHTS], after_first)
    resamples = model.resample_model
    if resamples is None:
        return model, None
    candidates = [replace(model, resample_model=resamples.with_repeat_weight(weight)) for weight in _REPEAT_WEIGHTS]
    best = _likeliest(candidates, data.later_drafts)
    return best, _REPEAT_WEIGHTS[candidates.index(best)]


def _likeliest(models: Sequence[PomdpModel], drafts: Sequence[LabelledDraft]) -> PomdpModel:
    """The model whose filter has the least negative log-likelihood of the true states.

    The first one where there are too few drafts.
    """
    if len(drafts) < _MIN_LATER:
        return models[0]
    chosen = drafts[:: ceil(len(drafts) / _MAX_LATER)]

    def negative_log_likelihood(model: PomdpModel) -> float:
        found = [max(filter_belief(model, draft.observation)[draft.state], 1e-6) for draft in chosen]
        return -float(np.log(found).mean())

    return min(models, key=negative_log_likelihood)


def _hazard(drafts: list[_LabelledText]) -> tuple[Estimate, ...]:
    """hazard[t]: the share of final ones among the drafts after step t, those of 0-based index t + 1."""
    by_step: dict[int, list[_LabelledText]] = {}
    for draft in drafts:
        by_step.setdefault(draft.step, []).append(draft)
    reached = [by_step[step] for step in takewhile(by_step.__contains__, count(1))]
    return tuple(proportion([d.final for d in found], [d.question for d in found]) for found in reached)


def _smooth(counted: Sequence[Estimate]) -> tuple[float, ...]:
    """Shrink each entry towards the mean of itself and its neighbours, the more the fewer drafts it has."""
    seen = np.array([0.0, *(e.count for e in counted), 0.0])
    final = np.array([0.0, *(e.count * e.value for e in counted), 0.0])
    near = np.array([1.0, 2.0, 1.0])
    around = np.convolve(final, near, "valid") / np.convolve(seen, near, "valid")
    smooth = (final[1:-1] + _SMOOTHING * around) / (seen[1:-1] + _SMOOTHING)
    return tuple(float(h) for h in smooth)
