"""From an observation to a belief over (CORRECT, RECOVERABLE, LOST): the paper's snapshot, and a filter."""

from __future__ import annotations

from typing import NamedTuple

from trim.pomdp.model import PomdpModel
from trim.pomdp.observation import ObservationBins
from trim.types import Action, Observation


class Belief(NamedTuple):
    """Probabilities of the three states of the solution with the draft on the table."""

    correct: float
    recoverable: float
    lost: float


def snapshot_belief(bins: ObservationBins, observation: Observation) -> Belief:
    """Bayes with a uniform prior on the newest (min of previous scores, score) alone, as the paper's code has it."""
    correct, recoverable, lost = bins.pair_likelihood(min(observation.scores[:-1], default=1.0), observation.score)
    total = correct + recoverable + lost
    return Belief(correct / total, recoverable / total, lost / total) if total else Belief(1 / 3, 1 / 3, 1 / 3)


def filter_belief(model: PomdpModel, observation: Observation) -> Belief:
    """Recursive Bayes over all steps: prediction through the action that was taken, then the new score.

    A step that the strong model wrote gives two pieces of evidence: the rejected draft's score (where the observation
    has it) and the score of the text that was kept. Whether the draft is final is no evidence, since in the model
    solutions end independently of the state; it matters for the decision.

    The evidence of a score r_t is P(r_t | min of r_1..r_{t-1}, state), not the pair's P(min, r_t | state): the earlier
    scores, and with them their min, have moved the belief already, and would count again at every later step.
    """
    # Decisions wait for this loop: it works on plain floats and normalises once a step.
    evidence = model.observation.score_likelihood
    accuracy, after_right, after_wrong = model.weak_accuracy, model.after_right, model.after_wrong
    drafts, lowest = observation.draft_scores, 1.0
    correct, recoverable, lost = accuracy, 1.0 - accuracy, 0.0  # the first draft
    for position, action in enumerate(observation.actions):
        if action is not Action.CONTINUE:
            if position < len(drafts) and (score := drafts[position]) is not None:
                of_correct, of_recoverable, of_lost = evidence(lowest, score)
                correct, recoverable, lost = correct * of_correct, recoverable * of_recoverable, lost * of_lost
            sound = correct + recoverable
            correct = correct * after_right + recoverable * after_wrong
            recoverable = max(sound - correct, 0.0)
        score = observation.scores[position]
        of_correct, of_recoverable, of_lost = evidence(lowest, score)
        right = correct * of_correct
        kept = right / (right + recoverable * of_recoverable + lost * of_lost)
        correct, recoverable, lost = kept * accuracy, kept * (1.0 - accuracy), 1.0 - kept
        lowest = min(lowest, score)
    of_correct, of_recoverable, of_lost = evidence(lowest, observation.score)
    correct, recoverable, lost = correct * of_correct, recoverable * of_recoverable, lost * of_lost
    total = correct + recoverable + lost
    return Belief(correct / total, recoverable / total, lost / total)
