"""TRIM-POMDP: act on the belief about the hidden state, by the exact solution for the price at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from trim.errors import ConfigError
from trim.policies.artifacts import Artifact, Models, Provenance
from trim.pomdp import Belief, ObservationBins, PomdpModel, PomdpSolution, filter_belief, snapshot_belief, solve
from trim.types import Action, Observation

RELEASED_GATE = 0.4
"""The gate of the paper's released code; it goes with the snapshot belief."""

_STEP_COSTS = (0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.015, 0.006, 0.002)


@lru_cache(maxsize=128)
def _solution(model: PomdpModel, price: float, take_over: bool, draft_cost: float) -> PomdpSolution:
    return solve(model, price, take_over=take_over, draft_cost=draft_cost)


@dataclass(frozen=True)
class PomdpPolicy:
    """Maximise E[correct - price * strong tokens], given the model.

    Args:
        model: the pair, the process reward model and the task in numbers.
        price: lambda, the price of one strong token in correct answers.
        belief: `filter` follows the whole solution; `snapshot` looks at the newest (min, score) alone, as the paper.
        gate: keep the draft whenever max(b) - b_R is at least this; None: no gate. See `RELEASED_GATE`.
        take_over, draft_cost: see `trim.pomdp.solve`.

    The first decision at a price solves for it; solutions are kept for all policies of the same model.

    Raises:
        ConfigError: a negative price or draft cost, or an unknown belief.
    """

    model: PomdpModel
    price: float
    belief: Literal["filter", "snapshot"] = "filter"
    gate: float | None = None
    take_over: bool = False
    draft_cost: float = 0.0
    name: str = "pomdp"
    uses_drafts: bool = True
    uses_scores: bool = True

    def __post_init__(self) -> None:
        if not self.price >= 0 or not self.draft_cost >= 0:
            raise ConfigError(f"pomdp: price and draft_cost must not be negative: {self.price}, {self.draft_cost}")
        if self.belief not in ("filter", "snapshot"):
            raise ConfigError(f"pomdp: belief is filter or snapshot, not {self.belief!r}")

    @property
    def parameter(self) -> float:
        """The price."""
        return self.price

    @property
    def solution(self) -> PomdpSolution:
        """The solution for this price, solved when first asked for."""
        return _solution(self.model, self.price, self.take_over, self.draft_cost)

    def at(self, price: float) -> PomdpPolicy:
        """The same policy for another price."""
        return replace(self, price=price)

    def prices(self) -> tuple[float, ...]:
        """Prices that an evaluation tries: where rewriting a mean step costs 0.5 to 0.002 of a correct answer."""
        return tuple(float(f"{cost / self.model.step_tokens:.2g}") for cost in _STEP_COSTS)

    def believe(self, observation: Observation) -> Belief:
        """The belief about the draft on the table."""
        if self.belief == "snapshot":
            return snapshot_belief(self.model.observation, observation)
        return filter_belief(self.model, observation)

    def act(self, observation: Observation) -> Action:
        """The best action for the belief, the draft's tokens and whether it ends the solution."""
        belief = self.believe(observation)
        if self.gate is not None and max(belief) - belief.recoverable >= self.gate:
            return Action.CONTINUE
        step = len(observation.tokens) - 1
        action = self.solution.action(step, belief, observation.tokens[-1], final=observation.final)
        assert isinstance(action, Action)  # of one belief
        return action

    def flip_price(self, observation: Observation) -> float | None:
        """The price from which on the draft is kept; None if it is kept at every price. No gate is looked at."""
        step, belief, tokens = len(observation.tokens) - 1, self.believe(observation), observation.tokens[-1]

        def kept(price: float) -> bool:
            solution = solve(self.model, price, take_over=self.take_over, draft_cost=self.draft_cost)
            return solution.action(step, belief, tokens, final=observation.final) is Action.CONTINUE

        if kept(0.0):
            return None
        low, high = 0.0, 1.0 / tokens  # no step is worth more than a correct answer
        while high - low > 1e-3 * high:
            middle = (low + high) / 2 if low else high / 4
            low, high = (low, middle) if kept(middle) else (middle, high)
        return high

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Write the policy and where it comes from; see `trim.policies.artifacts`."""
        model = self.model
        settings = {
            "weak_accuracy": model.weak_accuracy,
            "strong_accuracy": model.strong_accuracy,
            "step_tokens": model.step_tokens,
            "repair_accuracy": model.repair_accuracy,
            "price": self.price,
            "belief": self.belief,
            "gate": self.gate,
            "take_over": self.take_over,
            "draft_cost": self.draft_cost,
        }
        arrays = {
            "hazard": np.array(model.hazard),
            "minimum_edges": model.observation.minimum_edges,
            "score_edges": model.observation.score_edges,
            "mass": model.observation.mass,
        }
        Artifact(self.name, settings, arrays, provenance).save(folder)

    @classmethod
    def load(
        cls, folder: Path, *, models: Models | None = None, on_mismatch: Literal["raise", "warn"] = "raise"
    ) -> PomdpPolicy:
        """Read what `save` wrote.

        Raises:
            ConfigError: unreadable, or made for other models (a warning with `on_mismatch="warn"`).
        """
        artifact = Artifact.load(folder, kind=cls.name, models=models, on_mismatch=on_mismatch)
        arrays, settings = artifact.arrays, dict(artifact.settings)
        try:
            observation = ObservationBins(arrays["minimum_edges"], arrays["score_edges"], arrays["mass"])
            names = ("weak_accuracy", "strong_accuracy", "step_tokens", "repair_accuracy")
            numbers = {name: settings.pop(name) for name in names}
            model = PomdpModel(hazard=tuple(arrays["hazard"]), observation=observation, **numbers)  # type: ignore[arg-type]
            return cls(model, **settings)  # type: ignore[arg-type]
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{folder}: not a saved POMDP policy ({error!r})") from None
