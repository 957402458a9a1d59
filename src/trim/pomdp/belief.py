"""From an observation to a belief over (CORRECT, RECOVERABLE, LOST): the paper's snapshot, and a Bayes filter."""

from __future__ import annotations

from typing import NamedTuple

from trim.pomdp.model import PomdpModel, ResampleModel
from trim.pomdp.observation import ObservationBins
from trim.types import Action, Observation

_NO_AGREEMENT = (0.0, 0.0, 0.0)
_SCORE_TOLERANCE = 1e-4  # two scores of one text differ by less, however they are computed

_Masses = tuple[float, float, float]  # of the three states, not normalised


class Belief(NamedTuple):
    """Probabilities of the three states of the solution with the draft on the table."""

    correct: float
    recoverable: float
    lost: float


def snapshot_belief(bins: ObservationBins, observation: Observation) -> Belief:
    """Bayes with a uniform prior on the newest (min of previous scores, score) alone, as in the paper's released code.

    Of several texts of a step by one model the best-scored one counts.
    """
    texts = observation.strong_scores if observation.strong_texts else observation.draft_scores
    score = max((observation.score, *(texts[-1] if texts else ())))
    correct, recoverable, lost = bins.pair_likelihood(min(observation.scores[:-1], default=1.0), score)
    total = correct + recoverable + lost
    return Belief(correct / total, recoverable / total, lost / total) if total else Belief(1 / 3, 1 / 3, 1 / 3)


def filter_belief(model: PomdpModel, observation: Observation) -> Belief:
    """Recursive Bayes over all steps: prediction through the action that was taken, then the new score.

    A step that the strong model wrote gives two pieces of evidence: the rejected drafts' scores (where the observation
    has them) and the score of the text that was kept. Where that is the draft's text again, seen by its score, the
    score is no new evidence, but the strong model's agreement is (`PomdpModel.agreement`). A draft that ends the
    solution is correct with a probability of its own (`PomdpModel.final_accuracy`); that it ends is no evidence about
    the steps before.

    The likelihood of a score r_t is P(r_t | min of r_1..r_{t-1}, state), not the pair's P(min, r_t | state): the
    earlier scores, and with them their min, have moved the belief already, and would count again at every later step.
    Scores of one solution may have correlated errors: the likelihoods of those before the draft's are raised to the
    power `PomdpModel.past_weight`.

    The belief is about the text on the table; after RESAMPLE or REVISE about the best-scored one, which is kept.
    """
    # Decisions wait for this loop: it works on plain floats and normalises once a step.
    drafts, written = observation.draft_scores, observation.strong_scores
    lowest, last = 1.0, len(observation.scores) - 1
    prefix_correct = 1.0
    for position, score in enumerate(observation.scores):
        accuracy = model.draft_accuracy(final=observation.final and position == last)
        masses = prefix_correct * accuracy, prefix_correct * (1.0 - accuracy), 1.0 - prefix_correct
        action = observation.actions[position] if position < len(observation.actions) else None
        scores = drafts[position] if position < len(drafts) else ()
        strong = written[position] if position < len(written) else ()
        regenerated = bool(strong) if action is None else action is not Action.CONTINUE
        weight = 1.0 if action is None else model.past_weight
        if scores or not regenerated:
            masses = _after_drafts(model, masses, scores or (score,), lowest=lowest, weight=weight)
        if regenerated:
            masses = _after_regenerate(
                model, masses, strong or (score,), score=score, drafts=scores, lowest=lowest, weight=weight
            )
        correct, recoverable, lost = masses
        if action is None:
            break
        prefix_correct = correct / (correct + recoverable + lost)
        lowest = min(lowest, score)
    total = correct + recoverable + lost
    return Belief(correct / total, recoverable / total, lost / total)


def _after_drafts(
    model: PomdpModel, masses: _Masses, scores: tuple[float, ...], *, lowest: float, weight: float
) -> _Masses:
    """Update by the scores of one or more drafts of a step, to the belief about the best-scored one.

    Without a resample model nothing is known of how drafts of a step are correlated: the best score alone counts.
    """
    first = scores[0] if model.resample_model else max(scores)
    masses = _times(masses, model.observation.score_likelihood(lowest, first, weight))
    if model.resample_model and len(scores) > 1:
        bins = model.resample_observation or model.observation
        masses = _after_resamples(model.resample_model, bins, masses, scores, lowest=lowest, weight=weight)
    return masses


def _after_regenerate(
    model: PomdpModel,
    masses: _Masses,
    texts: tuple[float, ...],
    *,
    score: float,
    drafts: tuple[float, ...],
    lowest: float,
    weight: float,
) -> _Masses:
    """Update by the scores of the strong model's `texts` in place of drafts; `score` is that of the kept text."""
    first = texts[0] if model.revise_model else score
    agreement = model.agreement if drafts else None
    if agreement is not None and abs(first - max(drafts)) <= _SCORE_TOLERANCE:
        masses = _times(masses, agreement)
    else:
        correct, recoverable, lost = masses
        same = agreement or _NO_AGREEMENT  # the text differs: that it agrees is ruled out
        if_correct, if_wrong = model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong
        fixed = correct * max(if_correct - same[0], 0.0) + recoverable * if_wrong
        failed = correct * (1 - if_correct) + recoverable * max(1 - same[1] - if_wrong, 0.0)
        masses = fixed, max(failed, 0.0), lost * (1 - same[2])
        masses = _times(masses, model.strong_observation.score_likelihood(lowest, first, weight))
    if model.revise_model and len(texts) > 1:
        bins = model.strong_observation
        masses = _after_resamples(model.revise_model, bins, masses, texts, lowest=lowest, weight=weight)
    return masses


def _after_resamples(
    resamples: ResampleModel,
    bins: ObservationBins,
    masses: _Masses,
    scores: tuple[float, ...],
    *,
    lowest: float,
    weight: float,
) -> _Masses:
    """From the belief about the first of several texts of a step to that about the best-scored one.

    A score that occurred before is that of the same text (`Observation.draft_scores`).
    """
    correct, recoverable, lost = masses
    best, differing = scores[0], False
    for n in range(1, len(scores)):
        score, model = scores[n], resamples.given(n, differing=differing)
        same = model.repeat_probability
        if score == best:
            correct, recoverable, lost = correct * same[0], recoverable * same[1], lost * same[2]
            continue
        differing = True
        correct, recoverable, lost = correct * (1 - same[0]), recoverable * (1 - same[1]), lost * (1 - same[2])
        if score in scores[:n]:  # an earlier text again, not the best one: its score is no new evidence
            continue
        of_correct, of_recoverable, of_lost = bins.score_likelihood(lowest, score, weight)
        lost *= of_lost
        both = correct * model.accuracy_if_correct * of_correct
        old = correct * (1 - model.accuracy_if_correct) * of_recoverable
        new = recoverable * model.accuracy_if_wrong * of_correct
        neither = recoverable * (1 - model.accuracy_if_wrong) * of_recoverable
        correct, recoverable = (both + new, old + neither) if score > best else (both + old, new + neither)
        best = max(best, score)
    return correct, recoverable, lost


def _times(masses: _Masses, likelihood: list[float] | _Masses) -> _Masses:
    correct, recoverable, lost = likelihood
    return masses[0] * correct, masses[1] * recoverable, masses[2] * lost
