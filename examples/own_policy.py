r"""A policy of your own: a low score is forgiven once, where everything before it was good.

trim eval --policies always-weak,always-strong,threshold,examples/own_policy.py:SecondChance --out compared
trim solve "A juggler can juggle 80 balls. 50% of the balls are golf balls, and 75% of the golf balls are white. How \
many white golf balls are there?" --policy examples/own_policy.py:SecondChance --parameter 0.7
"""

from dataclasses import dataclass

from trim import Action, Observation, Policy


@dataclass(frozen=True)
class SecondChance(Policy):
    """Asks the weak model for another draft before the strong model writes the step."""

    k: float = 0.5  # the constructor gets the parameter
    name: str = "second-chance"
    sweep = (0.3, 0.5, 0.7, 0.9)  # what trim eval tries
    parameter_range = (0.0, 1.0)

    @property
    def parameter(self) -> float:
        """The lowest score that is kept."""
        return self.k

    def act(self, observation: Observation) -> Action:
        """Keep, draw again, or rewrite."""
        if observation.score >= self.k:
            return Action.CONTINUE
        trusted = min(observation.scores[:-1], default=1.0) >= self.k and observation.drafts == 1
        return Action.RESAMPLE if trusted else Action.REGENERATE
