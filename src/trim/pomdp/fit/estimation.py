"""The POMDP's numbers from recorded traces of a pair: step accuracies, repair, hazard, lengths and scores by state.

Every text that was on the table is judged in the prefix that it stood in: the weak model's drafts, kept or rejected,
and the strong model's steps. Which drafts a policy chose to replace does not matter as long as labels come from a rule:
all drafts are judged, and strong steps are counted by whether the draft that they replaced was right.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from math import ceil, hypot
from typing import Any

import numpy as np

from trim.errors import TraceError
from trim.pomdp.belief import filter_belief
from trim.pomdp.fit.labels import LabelledDraft, Labeller, StepLabels, is_final, labelled_drafts, labelled_redrafts
from trim.pomdp.fit.repeats import Redraft, ResampleFit, best_of, find_redrafts, fit_resamples
from trim.pomdp.model import PomdpModel
from trim.pomdp.observation import STATES, FloatArray, ObservationBins, quantile_bins
from trim.stats import Estimate, mean, proportion
from trim.types import Role, Step, Trace

_CORRECT, _RECOVERABLE, _LOST = range(3)
_FEWEST_REPAIRS = 20  # right and wrong ones each
_FEWEST_FINAL = 50  # final drafts, and others, with nothing wrong before them
_FEWEST_LATER, _MOST_LATER = 200, 4_000  # drafts after a first one, for the weight of past scores
_PAST_WEIGHTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_REPEAT_WEIGHTS = (1.0, 0.5, 0.25, 0.0)
_REACHES, _FEW_REACHES, _FOLDS = (8, 4, 2), (4, 2, 1), 5  # of the scores' bins: how far counts are spread
_SMOOTHING = 5.0  # drafts that the neighbouring steps count for in the hazard
_ADVICE = (
    "; best are traces of random steps with scores, which hold both models' steps everywhere: "
    "trim eval --policies random --parameters random=0.5 --score"
)


@dataclass(frozen=True)
class PomdpFit:
    """A fitted model, and how sure each of its numbers is.

    `after_right` and `after_wrong` are q_C and q_R, None where no strong step replaced a draft that has a label (q_R is
    then taken to be p_s, as in the paper). `final_accuracy` is that of drafts that end the solution, `weak_accuracy`
    then that of the others; None where there are too few of either. `resamples` tells of drafts that follow another one
    of the same step, `revise` of strong texts that do; None where there are too few. `repeat_weight` is what a repeated
    draft counts for in the model (`ResampleModel.weighed`). `hazard[t]` is what was counted, before smoothing.
    `scores` are mean scores by state; `points` the arrays of shape (n, 2) behind them, (min of previous scores, score).
    """

    model: PomdpModel
    weak_accuracy: Estimate
    final_accuracy: Estimate | None
    strong_accuracy: Estimate
    after_right: Estimate | None
    after_wrong: Estimate | None
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
            others are there because of what the policy saw; the others tell of resamples, and of revised strong steps.
        label: says which steps are right; `label_by_rule` or `label_by_prm`.
        ends: whether a step's text holds a final answer (`StepFormat.has_answer`).
        points: scores by state from elsewhere, such as ProcessBench, instead of those in the traces.

    Raises:
        TraceError: too few data; says of what, and about how many questions more are needed.
    """
    texts: list[_Text] = []
    drafts: list[LabelledDraft] = []
    later: list[LabelledDraft] = []
    redrafts: dict[Role, list[Redraft]] = {Role.WEAK: [], Role.STRONG: []}
    used = skipped = 0
    for trace in traces:
        labels = label(trace)
        if labels is None:
            skipped += 1
        else:
            used += 1
            texts += _judge(trace, labels, ends)
            for author, found in redrafts.items():
                found += find_redrafts(trace, labels, author)
            drafts += labelled_drafts(trace, labels, ends)
            later += labelled_redrafts(trace, labels, ends)
    evidence = _Evidence.of(texts, points)
    evidence.require_enough(skipped)
    inner, final = ([text for text in evidence.weak if text.final is last] for last in (False, True))
    apart = min(len(inner), len(final)) >= _FEWEST_FINAL
    weak = _share(inner if apart else evidence.weak)
    right, wrong = (_share(replaced) if replaced else None for replaced in (evidence.for_right, evidence.for_wrong))
    strong = _share(evidence.strong) if right is None or wrong is None else _mixture(weak, right, wrong)
    tokens = mean([text.tokens for text in evidence.drafts], [text.question for text in evidence.drafts])
    counted = _hazard(evidence.drafts)
    resamples, revise = (fit_resamples(found) for found in redrafts.values())
    model = PomdpModel(
        weak.value,
        strong.value,
        _smooth(counted),
        _bins(evidence.points, evidence.groups, _REACHES),
        tokens.value,
        None if right is None or wrong is None else wrong.value,
        None if resamples is None else resamples.model,
        None if right is None or wrong is None else evidence.agreement(right.value, wrong.value),
        evidence.repair_observation(),
        (sum(text.state == _CORRECT for text in final) + 0.5) / (len(final) + 1) if apart else None,
        revise=None if revise is None else revise.model,
        resample_observation=_resample_observation(redrafts[Role.WEAK]),
    )
    beyond_first = [draft for draft in drafts if len(draft.observation.scores) > 1]
    model = _likeliest([replace(model, past_weight=weight) for weight in _PAST_WEIGHTS], beyond_first)
    repeats = None
    if resamples is not None:
        counted_as = {weight: replace(model, resamples=resamples.model.weighed(weight)) for weight in _REPEAT_WEIGHTS}
        model = _likeliest(list(counted_as.values()), later)
        repeats = next(weight for weight, candidate in counted_as.items() if candidate is model)
    return PomdpFit(
        model=model,
        weak_accuracy=weak,
        final_accuracy=_share(final) if apart else None,
        strong_accuracy=strong,
        after_right=right,
        after_wrong=wrong,
        resamples=resamples,
        repeat_weight=repeats,
        revise=revise,
        step_tokens=tokens,
        hazard=counted,
        scores={state: mean(found[:, 1], evidence.groups[state]) for state, found in evidence.points.items()},
        points=evidence.points,
        questions=evidence.questions,
        traces=used,
        skipped=skipped,
    )


# Evidence -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Text:
    """A text on the table. `pair` is (min of previous scores, score) where both are known; `draft_right` belongs to a
    strong step and says whether the draft that it replaced was.
    """

    question: str
    step: int
    role: Role
    state: int
    final: bool
    tokens: int
    pair: tuple[float, float] | None
    draft_right: bool | None = None
    agrees: bool = False  # a strong step that is the draft word for word


def _judge(trace: Trace, labels: StepLabels, ends: Callable[[str], bool]) -> Iterator[_Text]:
    lowest: float | None = 1.0
    sound = True

    def text(
        t: int, step: Step, score: float | None, *, right: bool, replaced: bool | None = None, agrees: bool = False
    ) -> _Text:
        state = _LOST if not sound else _CORRECT if right else _RECOVERABLE
        final = is_final(step, ends)
        pair = None if lowest is None or score is None else (lowest, score)
        return _Text(trace.question.text, t, step.role, state, final, step.tokens, pair, replaced, agrees)

    for t, decision in enumerate(trace.decisions):
        rights = labels.drafts[t]
        if rights:
            first = decision.drafts[0]
            yield text(t, first.step, first.score, right=rights[0])
        if decision.step.role is Role.STRONG:
            best = best_of(decision.drafts) if rights else None
            replaced = None if best is None else rights[best]
            first = decision.strong_texts[0]
            agrees = best is not None and decision.drafts[best].step.text == first.step.text
            right = labels.strong_texts[t][0]
            yield text(t, first.step, first.score, right=right, replaced=replaced, agrees=agrees)
        sound = labels.kept[t]
        lowest = None if lowest is None or decision.kept_score is None else min(lowest, decision.kept_score)


@dataclass(frozen=True)
class _Evidence:
    """The texts sorted by what they are evidence for."""

    drafts: list[_Text]
    weak: list[_Text]  # drafts with nothing wrong before them
    strong: list[_Text]  # strong steps with nothing wrong before them
    for_right: list[_Text]  # those of them that replaced a right draft
    for_wrong: list[_Text]
    for_lost: list[_Text]  # strong steps after a wrong one
    points: Mapping[str, FloatArray]
    groups: Mapping[str, Sequence[str]]  # the question of each point
    questions: int

    @classmethod
    def of(cls, texts: list[_Text], points: Mapping[str, FloatArray] | None) -> _Evidence:
        sound = [text for text in texts if text.state != _LOST]
        strong = [text for text in sound if text.role is Role.STRONG]
        if points is None:
            scored = [[text for text in texts if text.pair and text.state == s] for s in range(len(STATES))]
            points = {STATES[s]: np.array([t.pair for t in found]).reshape(-1, 2) for s, found in enumerate(scored)}
            groups = {STATES[s]: [text.question for text in found] for s, found in enumerate(scored)}
        else:
            groups = {state: [str(n) for n in range(len(found))] for state, found in points.items()}
        return cls(
            drafts=[text for text in texts if text.role is Role.WEAK],
            weak=[text for text in sound if text.role is Role.WEAK],
            strong=strong,
            for_right=[text for text in strong if text.draft_right is True],
            for_wrong=[text for text in strong if text.draft_right is False],
            for_lost=[t for t in texts if t.state == _LOST and t.role is Role.STRONG and t.draft_right is not None],
            points=points,
            groups=groups,
            questions=len({text.question for text in texts}),
        )

    def agreement(self, right: float, wrong: float) -> tuple[float, float, float]:
        """P(a strong step is the draft again | the draft's state), with a pseudo-count: nothing is ruled out."""
        replaced = (self.for_right, self.for_wrong, self.for_lost)
        shares = [(sum(text.agrees for text in found) + 0.5) / (len(found) + 1) for found in replaced]
        return min(shares[0], right), min(shares[1], 1 - wrong), shares[2]  # labels may be noisy

    def repair_observation(self) -> ObservationBins | None:
        """Scores of strong steps that are another text than the draft; None where there are too few. Of those after a
        wrong step there are hardly any: wrong ones stand for them.
        """
        others = [t for t in (*self.for_right, *self.for_wrong) if t.pair is not None and not t.agrees]
        right, wrong = ([t for t in others if t.state == state] for state in (_CORRECT, _RECOVERABLE))
        if min(len(right), len(wrong)) < _FEWEST_REPAIRS:
            return None
        by_state = dict(zip(STATES, (right, wrong, wrong), strict=True))
        points = {state: np.array([text.pair for text in texts]) for state, texts in by_state.items()}
        return _score_bins(points, {state: [text.question for text in texts] for state, texts in by_state.items()})

    def require_enough(self, skipped: int) -> None:
        """Refuse to guess."""
        needs = [
            (len(self.weak), 50, "weak drafts with nothing wrong before them"),
            (len(self.strong), 30, "strong steps with nothing wrong before them"),
            (len(self.points["CORRECT"]), 50, "scores of right steps"),
            (len(self.points["RECOVERABLE"]), 30, "scores of first wrong steps"),
            (len(self.points["LOST"]), 30, "scores of steps after a wrong one"),
            (sum(text.step > 0 for text in self.drafts), 30, "drafts after a first step"),
        ]
        if self.for_right or self.for_wrong:
            needs.append((len(self.for_right), 20, "strong steps in place of right drafts"))
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
    """Quantile bins whose counts are spread as far as tells the states of other questions' texts best."""
    fold = {state: np.array([zlib.crc32(name.encode()) % _FOLDS for name in groups[state]]) for state in STATES}

    def surprise(reach: int) -> float:
        found: list[list[FloatArray]] = [[] for _ in STATES]
        for k in range(_FOLDS):
            fitted = quantile_bins({s: p[fold[s] != k] for s, p in points.items()}, reach=reach, **options)
            for n, state in enumerate(STATES):
                likelihoods = fitted.score_likelihoods(points[state][fold[state] == k])
                found[n].append(-np.log(likelihoods[:, n] / likelihoods.sum(axis=1)))
        return float(np.mean([np.concatenate(parts).mean() for parts in found]))

    return quantile_bins(points, reach=min(reaches, key=surprise), **options)


def _score_bins(points: Mapping[str, FloatArray], groups: Mapping[str, Sequence[str]]) -> ObservationBins:
    """Of few points, blind to the min of earlier scores."""
    return _bins(points, groups, _FEW_REACHES, minimum_bins=1, score_bins=24, pseudo_counts=0.0)


def _resample_observation(redrafts: Sequence[Redraft]) -> ObservationBins | None:
    """Scores of drafts that are no earlier one again, by their own state; None where there are too few."""
    found: dict[str, list[Redraft]] = {state: [] for state in STATES}
    for redraft in redrafts:
        state = _LOST if redraft.before == _LOST else _CORRECT if redraft.right else _RECOVERABLE
        if redraft.new and redraft.scores[1] is not None:
            found[STATES[state]].append(redraft)
    if min(map(len, found.values())) < _FEWEST_REPAIRS:
        return None
    points = {state: np.array([(1.0, redraft.scores[1]) for redraft in new], float) for state, new in found.items()}
    return _score_bins(points, {state: [redraft.question for redraft in new] for state, new in found.items()})


# Estimates ------------------------------------------------------------------------------------------------------


def _share(texts: list[_Text]) -> Estimate:
    """The share of right ones."""
    return proportion([text.state == _CORRECT for text in texts], [text.question for text in texts])


def _mixture(weak: Estimate, right: Estimate, wrong: Estimate) -> Estimate:
    """p_s = p_w q_C + (1 - p_w) q_R, as if every draft had been replaced. The interval adds distances in squares."""
    p, gap = weak.value, right.value - wrong.value
    value = p * right.value + (1 - p) * wrong.value
    low, high = (
        hypot(
            p * (right.value - getattr(right, side)),
            (1 - p) * (wrong.value - getattr(wrong, side)),
            gap * (weak.value - getattr(weak, side if gap > 0 else other)),
        )
        for side, other in (("low", "high"), ("high", "low"))
    )
    return Estimate(value, max(value - low, 0.0), min(value + high, 1.0), right.count + wrong.count)


def _likeliest(models: Sequence[PomdpModel], drafts: Sequence[LabelledDraft]) -> PomdpModel:
    """The one whose filter gives the true states the most probability; the first where there are too few drafts."""
    if len(drafts) < _FEWEST_LATER:
        return models[0]
    chosen = drafts[:: ceil(len(drafts) / _MOST_LATER)]

    def surprise(model: PomdpModel) -> float:
        found = [max(filter_belief(model, draft.observation)[draft.state], 1e-6) for draft in chosen]
        return -float(np.log(found).mean())

    return min(models, key=surprise)


def _hazard(drafts: list[_Text]) -> tuple[Estimate, ...]:
    """hazard[t]: the share of final ones among the drafts after step t, those of 0-based index t + 1."""
    by_step: dict[int, list[_Text]] = {}
    for draft in drafts:
        by_step.setdefault(draft.step, []).append(draft)
    reached = [by_step[step] for step in takewhile(by_step.__contains__, count(1))]
    return tuple(proportion([d.final for d in found], [d.question for d in found]) for found in reached)


def _smooth(counted: Sequence[Estimate]) -> tuple[float, ...]:
    """Draw each entry towards itself and its neighbours (weights 1, 2, 1), the more the fewer drafts it has."""
    seen = np.array([0.0, *(e.count for e in counted), 0.0])
    final = np.array([0.0, *(e.count * e.value for e in counted), 0.0])
    near = np.array([1.0, 2.0, 1.0])
    around = np.convolve(final, near, "valid") / np.convolve(seen, near, "valid")
    smooth = (final[1:-1] + _SMOOTHING * around) / (seen[1:-1] + _SMOOTHING)
    return tuple(float(h) for h in smooth)
