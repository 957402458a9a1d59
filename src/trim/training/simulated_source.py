"""Episodes on simulated models whose error process is a POMDP model, for training without any language model."""

from __future__ import annotations

from trim.policies.learned.features import PriceRange
from trim.pomdp import PomdpModel
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.simulation import constant_accuracy, gamma_lengths, graded
from trim.simulation.pomdp_world import World
from trim.tasks.simulated import TASK
from trim.training.episodes import Source
from trim.types import Action

_LEAST_STEP_COST, _MOST_STEP_COST = 0.002, 0.5  # of regenerating a mean step at the ends of the range, in answers
_RESAMPLES = 2
_LENGTHS = gamma_lengths(8)


def textbook() -> PomdpModel:
    """A weak model that solves 40% of the questions alone and a strong one that solves 80%.

    Solutions have 8 steps of 60 tokens on average. The strong model errs only at steps that the weak one gets wrong; a
    score is on the correct side of 0.5 with probability 0.9.
    """
    weak, strong = (constant_accuracy(solved, _LENGTHS) for solved in (0.4, 0.8))
    return PomdpModel(weak, strong, _LENGTHS[1:], graded(0.9), 60, 1 - (1 - strong) / (1 - weak))


def price_range(step_tokens: float) -> PriceRange:
    """Prices at which regenerating a step of so many tokens costs 0.002 to 0.5 of a correct answer."""
    return PriceRange(*(float(f"{cost / step_tokens:.2g}") for cost in (_LEAST_STEP_COST, _MOST_STEP_COST)))


def simulated(model: PomdpModel, actions: tuple[Action, ...], *, questions: int, validation: int, seed: int) -> Source:
    """A source whose simulated models follow `model`; training and validation questions are disjoint."""
    world = World.of(model)
    limits = Limits(lookahead=0, max_drafts=1 + _RESAMPLES if Action.RESAMPLE in actions else 1)
    drawn = TASK.questions(questions + validation, seed)
    return Source(
        TASK,
        drawn[validation:],
        drawn[:validation],
        lambda policy: Router(world.weak, world.strong, world.prm, policy, limits=limits),
    )
