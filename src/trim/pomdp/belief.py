"""From an observation to a belief over (CORRECT, RECOVERABLE, LOST): the paper's snapshot, and a filter."""

from __future__ import annotations

from typing import NamedTuple

from trim.pomdp.model import PomdpModel, ResampleModel
from trim.pomdp.observation import ObservationBins
from trim.types import Action, Observation

_NEVER = (0.0, 0.0, 0.0)
_SAME = 1e-4  # scores of one text differ by less, whoever computes them


class Belief(NamedTuple):
    """Probabilities of the three states of the solution with the draft on the table."""

    correct: float
    recoverable: float
    lost: float


def snapshot_belief(bins: ObservationBins, observation: Observation) -> Belief:
    """Bayes with a uniform prior on the newest (min of previous scores, score) alone, as the paper's code has it. Of
    several texts by the same author the best-scored one counts.
    """
    texts = observation.strong_scores if observation.strong_texts else observation.draft_scores
    score = max((observation.score, *(texts[-1] if texts else ())))
    correct, recoverable, lost = bins.pair_likelihood(min(observation.scores[:-1], default=1.0), score)
    total = correct + recoverable + lost
    return Belief(correct / total, recoverable / total, lost / total) if total else Belief(1 / 3, 1 / 3, 1 / 3)


def filter_belief(model: PomdpModel, observation: Observation) -> Belief:
    """Recursive Bayes over all steps: prediction through the action that was taken, then the new score.

    A step that the strong model wrote gives two pieces of evidence: the rejected drafts' scores (where the observation
    has them) and the score of the text that was kept. Where that is the draft's text again, told by its score, the
    score is no news, but that the strong model agrees is (`PomdpModel.agreement`). A draft that ends the solution is
    right with a probability of its own (`PomdpModel.final_accuracy`); that it ends tells nothing of the steps before.

    The evidence of a score r_t is P(r_t | min of r_1..r_{t-1}, state), not the pair's P(min, r_t | state): the earlier
    scores, and with them their min, have moved the belief already, and would count again at every later step. Scores
    of one solution may err together: those before the draft's count with the power `PomdpModel.past_weight`.

    The belief is about the text on the table; after RESAMPLE, or where the strong model has written twice, about the
    better-scored one, which is kept.
    """
    # Decisions wait for this loop: it works on plain floats and normalises once a step.
    evidence = model.observation.score_likelihood
    repair_evidence = model.strong_observation.score_likelihood
    after_right, after_wrong = model.after_right, model.after_wrong
    again, revise = (
        model.resamples,
        model.revise,
    )  # None: nothing is known of how texts hang together, the best one counts
    drafts, written = observation.draft_scores, observation.strong_scores
    lowest, last = 1.0, len(observation.scores) - 1
    kept = 1.0
    for position, score in enumerate(observation.scores):
        accuracy = model.draft_accuracy(final=observation.final and position == last)
        correct, recoverable, lost = kept * accuracy, kept * (1.0 - accuracy), 1.0 - kept
        action = observation.actions[position] if position < len(observation.actions) else None
        scores = drafts[position] if position < len(drafts) else ()
        strong = written[position] if position < len(written) else ()
        rewritten = bool(strong) if action is None else action is not Action.CONTINUE
        weight = 1.0 if action is None else model.past_weight
        if scores or not rewritten:
            first = (scores[0] if again else max(scores)) if scores else score
            of_correct, of_recoverable, of_lost = evidence(lowest, first, weight)
            correct, recoverable, lost = correct * of_correct, recoverable * of_recoverable, lost * of_lost
        if again and len(scores) > 1:
            table = model.resample_observation or model.observation, again
            correct, recoverable, lost = _others(table, weight, (correct, recoverable, lost), lowest, scores)
        first = strong[0] if strong and revise else score
        agreement = model.agreement if rewritten and scores else None
        if agreement is not None and abs(first - max(scores)) <= _SAME:
            correct, recoverable, lost = correct * agreement[0], recoverable * agreement[1], lost * agreement[2]
        elif rewritten:
            same = agreement or _NEVER  # what agrees is out
            right = correct * max(after_right - same[0], 0.0) + recoverable * after_wrong
            wrong = correct * (1 - after_right) + recoverable * max(1 - same[1] - after_wrong, 0.0)
            correct, recoverable, lost = right, max(wrong, 0.0), lost * (1 - same[2])
            of_correct, of_recoverable, of_lost = repair_evidence(lowest, first, weight)
            correct, recoverable, lost = correct * of_correct, recoverable * of_recoverable, lost * of_lost
        if revise and len(strong) > 1:
            table = model.strong_observation, revise
            correct, recoverable, lost = _others(table, weight, (correct, recoverable, lost), lowest, strong)
        if action is None:
            break
        kept = correct / (correct + recoverable + lost)
        lowest = min(lowest, score)
    total = correct + recoverable + lost
    return Belief(correct / total, recoverable / total, lost / total)


def _others(
    table: tuple[ObservationBins, ResampleModel],
    weight: float,
    belief: tuple[float, float, float],
    lowest: float,
    scores: tuple[float, ...],
) -> tuple[float, float, float]:
    """From the belief about the first of several texts of a step to that about the best-scored one, not normalised;
    scores count with `weight`. A score that was there before is that of the same text (`Observation.draft_scores`).
    """
    bins, resamples = table
    correct, recoverable, lost = belief
    best, mixed = scores[0], False
    for n in range(1, len(scores)):
        score, again = scores[n], resamples.after(n, mixed=mixed)
        same = again.same
        if score == best:
            correct, recoverable, lost = correct * same[0], recoverable * same[1], lost * same[2]
            continue
        mixed = True
        correct, recoverable, lost = correct * (1 - same[0]), recoverable * (1 - same[1]), lost * (1 - same[2])
        if score in scores[:n]:  # not the best: no news of its own
            continue
        of_correct, of_recoverable, of_lost = bins.score_likelihood(lowest, score, weight)
        lost *= of_lost
        both = correct * again.after_right * of_correct
        old = correct * (1 - again.after_right) * of_recoverable
        new = recoverable * again.after_wrong * of_correct
        neither = recoverable * (1 - again.after_wrong) * of_recoverable
        correct, recoverable = (both + new, old + neither) if score > best else (both + old, new + neither)
        best = max(best, score)
    return correct, recoverable, lost
