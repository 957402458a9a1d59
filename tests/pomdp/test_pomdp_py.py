"""Against an independent solver, where it is installed: pip install pomdp-py (wheels for Python 3.11 and 3.12)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.pomdp.instances import scores_in
from trim.pomdp import PomdpModel, solve
from trim.types import Action

pomdp_py: Any = pytest.importorskip("pomdp_py", reason="pomdp-py is not installed")

PRICE = 0.02
ACTIONS = (Action.CONTINUE, Action.REGENERATE)


def model() -> PomdpModel:
    """Two observations; the third draft is the final one, so that the stage needs no observation of its own."""
    return PomdpModel(0.7, 0.9, (0.0, 1.0), scores_in((0.2, 0.8), (0.8, 0.2), (0.6, 0.4)), 10, 0.8)


class Name(pomdp_py.SimpleState):  # type: ignore[misc]
    """A state of the library, named by stage and solution."""


class Move(pomdp_py.SimpleAction):  # type: ignore[misc]
    """An action of the library, named as ours."""


class Seen(pomdp_py.SimpleObservation):  # type: ignore[misc]
    """An observation of the library: the number of a bin."""


STATES = [Name((stage, solution)) for stage in range(4) for solution in range(3)]
MOVES = [Move(action.value) for action in ACTIONS]
BINS = [Seen(0), Seen(1)]


def kept(ours: PomdpModel, solution: int, action: Action) -> float:
    """P(the kept prefix is right)."""
    after = {
        Action.CONTINUE: (1.0, 0.0, 0.0),
        Action.REGENERATE: (ours.strong_accuracy_if_correct, ours.strong_accuracy_if_wrong, 0.0),
    }
    return after[action][solution]


class Transition(pomdp_py.TransitionModel):  # type: ignore[misc]
    def probability(self, after: Any, before: Any, move: Move) -> float:
        (stage, solution), (later, drafted) = before.data, after.data
        if later != min(stage + 1, 3):
            return 0.0
        k = kept(model(), solution, Action(move.name))
        weak = model().weak_accuracy
        return float((k * weak, k * (1 - weak), 1 - k)[drafted])

    def get_all_states(self) -> list[Any]:
        return STATES


class Sight(pomdp_py.ObservationModel):  # type: ignore[misc]
    def probability(self, seen: Any, after: Any, move: Move) -> float:
        return float(model().observation.mass[after.data[1], 0, seen.data])

    def get_all_observations(self) -> list[Any]:
        return BINS


class Reward(pomdp_py.RewardModel):  # type: ignore[misc]
    def sample(self, before: Any, move: Move, after: Any) -> float:
        stage, solution = before.data
        cost = PRICE * 10 if Action(move.name) is Action.REGENERATE and stage < 3 else 0.0
        return (kept(model(), solution, Action(move.name)) if stage == 2 else 0.0) - cost

    def argmax(self, before: Any, move: Move, after: Any) -> float:
        return self.sample(before, move, after)


class Moves(pomdp_py.RolloutPolicy):  # type: ignore[misc]
    def get_all_actions(self, *args: Any, **kwargs: Any) -> list[Move]:
        return MOVES

    def sample(self, state: Any) -> Move:
        return MOVES[0]


BELIEFS = [(c, r, 1 - c - r) for c in np.linspace(0.05, 0.9, 4) for r in np.linspace(0.02, 1 - c, 2)]


@pytest.mark.parametrize("belief", BELIEFS)
def test_value_and_action_agree(belief: tuple[float, float, float]) -> None:
    weights = {state: belief[state.data[1]] if state.data[0] == 0 else 0.0 for state in STATES}
    start = pomdp_py.Histogram(weights)
    parts = (Transition(), Sight(), Reward())
    value = pomdp_py.algorithms.value_function.value(start, STATES, MOVES, BINS, *parts, 1.0, horizon=3)
    solution = solve(model(), PRICE, 4001)
    assert float(solution.value(0, belief, 10)) == pytest.approx(value, abs=1e-6)
    agent = pomdp_py.Agent(start, Moves(), *parts)
    planned = pomdp_py.ValueIteration(horizon=3, discount_factor=0.999999).plan(agent)
    if abs(solution.gain(0, belief) - PRICE * 10) > 1e-4:  # no tie
        assert solution.action(0, belief, 10) is Action(planned.name)
