"""Episodes without models: a simulated pair and judge whose truth is a POMDP's model."""

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

_CHEAP, _DEAR = 0.002, 0.5  # what rewriting a mean step costs at the ends of the range, in correct answers
_RESAMPLES = 2
_LENGTHS = gamma_lengths(8)


def textbook() -> PomdpModel:
    """A weak model that solves 40% of the questions alone and a strong one that solves 80%, in 8 steps of 60 tokens on
    average. All errors of the strong model are at steps that the weak one gets wrong; a score lies on the right side of
    0.5 with probability 0.9.
    """
    weak, strong = (constant_accuracy(solved, _LENGTHS) for solved in (0.4, 0.8))
    return PomdpModel(weak, strong, _LENGTHS[1:], graded(0.9), 60, 1 - (1 - strong) / (1 - weak))


def price_range(step_tokens: float) -> PriceRange:
    """Prices at which rewriting a step of so many tokens costs 0.002 to 0.5 of a correct answer."""
    return PriceRange(*(float(f"{cost / step_tokens:.2g}") for cost in (_CHEAP, _DEAR)))


def simulated(model: PomdpModel, actions: tuple[Action, ...], *, questions: int, validation: int, seed: int) -> Source:
    """Questions for a world that behaves as the model says; validation questions are not among those for training."""
    world = World.of(model)
    limits = Limits(lookahead=0, max_drafts=1 + _RESAMPLES if Action.RESAMPLE in actions else 1)
    drawn = TASK.questions(questions + validation, seed)
    return Source(
        TASK,
        drawn[validation:],
        drawn[:validation],
        lambda policy: Router(world.weak, world.strong, world.prm, policy, limits=limits),
    )
