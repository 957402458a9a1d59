"""From an observation to a belief over (CORRECT, RECOVERABLE, LOST): the paper's snapshot, and a filter."""

from __future__ import annotations

from typing import NamedTuple

from trim.pomdp.model import PomdpModel
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
    several drafts the best-scored one counts.
    """
    score = max((observation.score, *(observation.draft_scores[-1] if observation.draft_scores else ())))
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

    After RETRY the belief is about the best-scored draft, the one that CONTINUE keeps.
    """
    # Decisions wait for this loop: it works on plain floats and normalises once a step.
    evidence = model.observation.score_likelihood
    repair_evidence = (model.repair_observation or model.observation).score_likelihood
    after_right, after_wrong = model.after_right, model.after_wrong
    drafts, lowest, last = observation.draft_scores, 1.0, len(observation.scores) - 1
    kept = 1.0
    for position, score in enumerate(observation.scores):
        accuracy = model.draft_accuracy(final=observation.final and position == last)
        correct, recoverable, lost = kept * accuracy, kept * (1.0 - accuracy), 1.0 - kept
        action = observation.actions[position] if position < len(observation.actions) else None
        scores = drafts[position] if position < len(drafts) else ()
        rewritten = action is not None and action is not Action.CONTINUE
        weight = 1.0 if action is None else model.past_weight
        if len(scores) > 1:
            correct, recoverable, lost = _several(model, weight, (correct, recoverable, lost), lowest, scores)
        elif scores or not rewritten:
            of_correct, of_recoverable, of_lost = evidence(lowest, scores[0] if scores else score, weight)
            correct, recoverable, lost = correct * of_correct, recoverable * of_recoverable, lost * of_lost
        agreement = model.agreement if rewritten and scores else None
        if agreement is not None and abs(score - max(scores)) <= _SAME:
            correct, recoverable, lost = correct * agreement[0], recoverable * agreement[1], lost * agreement[2]
        elif rewritten:
            same = agreement or _NEVER  # what agrees is out
            right = correct * max(after_right - same[0], 0.0) + recoverable * after_wrong
            wrong = correct * (1 - after_right) + recoverable * max(1 - same[1] - after_wrong, 0.0)
            correct, recoverable, lost = right, max(wrong, 0.0), lost * (1 - same[2])
            of_correct, of_recoverable, of_lost = repair_evidence(lowest, score, weight)
            correct, recoverable, lost = correct * of_correct, recoverable * of_recoverable, lost * of_lost
        if action is None:
            break
        kept = correct / (correct + recoverable + lost)
        lowest = min(lowest, score)
    total = correct + recoverable + lost
    return Belief(correct / total, recoverable / total, lost / total)


def _several(
    model: PomdpModel,
    weight: float,
    prior: tuple[float, float, float],
    lowest: float,
    scores: tuple[float, ...],
) -> tuple[float, float, float]:
    """The belief about the best-scored of several drafts of a step, not normalised; scores count with `weight`. A
    score that was there before is that of the same text (`Observation.draft_scores`).
    """
    again, best = model.retries, scores[0]
    if again is None:  # nothing is known of how drafts hang together
        best, scores = max(scores), ()
    of_correct, of_recoverable, of_lost = model.observation.score_likelihood(lowest, best, weight)
    correct, recoverable, lost = prior[0] * of_correct, prior[1] * of_recoverable, prior[2] * of_lost
    for n in range(1, len(scores)):
        assert again is not None
        score, same = scores[n], again.same
        if score in scores[:n]:
            correct, recoverable, lost = correct * same[0], recoverable * same[1], lost * same[2]
            continue
        of_correct, of_recoverable, of_lost = model.observation.score_likelihood(lowest, score, weight)
        correct, recoverable, lost = correct * (1 - same[0]), recoverable * (1 - same[1]), lost * (1 - same[2])
        lost *= of_lost
        both = correct * again.after_right * of_correct
        old = correct * (1 - again.after_right) * of_recoverable
        new = recoverable * again.after_wrong * of_correct
        neither = recoverable * (1 - again.after_wrong) * of_recoverable
        correct, recoverable = (both + new, old + neither) if score > best else (both + old, new + neither)
        best = max(best, score)
    return correct, recoverable, lost
