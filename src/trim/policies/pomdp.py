"""TRIM-POMDP: act on the belief about the hidden state, by the exact solution for the price at hand."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from trim.errors import ConfigError
from trim.policies.artifacts import Artifact, Models, Provenance, number, readable
from trim.policies.spec import PolicySpec
from trim.pomdp import (
    Belief,
    CostModel,
    ObservationBins,
    PomdpModel,
    PomdpSolution,
    ResampleModel,
    filter_belief,
    snapshot_belief,
    solve,
)
from trim.protocols import Tunable
from trim.types import Action, Observation

RELEASED_GATE = 0.4
"""The gate of the paper's released code; it goes with the snapshot belief."""

_RECORD = "trim eval --policies random+revise+1 --parameters random+revise+1=0.7 --score"

_PRICE_STEP = 1.05

_STEP_COSTS = (0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.015, 0.006, 0.002)


@lru_cache(maxsize=128)
def _solution(
    model: PomdpModel, price: float, take_over: bool, costs: CostModel, resamples: int, revisions: int
) -> PomdpSolution:
    if costs.per_strong_step:
        model = replace(model, step_tokens=model.step_tokens + costs.per_strong_step)
    draft_cost = price * costs.per_draft
    return solve(model, price, take_over=take_over, draft_cost=draft_cost, resamples=resamples, revisions=revisions)


@dataclass(frozen=True)
class PomdpPolicy(Tunable):
    """Maximise E[correct - price * (total cost in strong tokens)], given the model.

    Args:
        model: the pair, the process reward model and the task in numbers.
        price: lambda, the price of one strong token in correct answers.
        belief: `filter` follows the whole solution; `snapshot` looks at the newest (min, score) alone, as the paper.
        gate: keep the draft whenever max(b) - b_R is at least this; None: no gate. See `RELEASED_GATE`.
        take_over: TAKE_OVER is an action too.
        resamples: how often RESAMPLE may follow a first draft.
        cost_model: what a draft and a strong step cost besides the strong tokens.
        max_revisions: how often what the strong model wrote may be written again.

    The first decision at a price solves for it; solutions are kept for all policies of the same model.

    Raises:
        ConfigError: a negative price, an unknown belief, resamples or revised steps that the model knows nothing of.
    """

    model: PomdpModel
    price: float
    belief: Literal["filter", "snapshot"] = "filter"
    gate: float | None = None
    take_over: bool = False
    resamples: int = 0
    cost_model: CostModel = CostModel()
    name: str = "pomdp"
    uses_drafts: bool = True
    uses_scores: bool = True
    max_revisions: int = 0

    def __post_init__(self) -> None:
        if not self.price >= 0:
            raise ConfigError(f"pomdp: the price must not be negative: {self.price}")
        if self.belief not in ("filter", "snapshot"):
            raise ConfigError(f"pomdp: belief is filter or snapshot, not {self.belief!r}")
        if self.resamples < 0 or (self.resamples and self.model.resample_model is None):
            raise ConfigError(f"pomdp: {self.resamples} resamples need a fit to traces with resamples: {_RECORD}")
        if self.max_revisions < 0 or (self.max_revisions and self.model.revise_model is None):
            raise ConfigError(f"pomdp: revised steps need a fit to traces with revised steps: {_RECORD}")

    @property
    def parameter(self) -> float:
        """The price of a strong token, in correct answers."""
        return self.price

    @cached_property
    def solution(self) -> PomdpSolution:
        """The solution for this price, solved when first asked for. A policy keeps its own, whatever others solve."""
        return _solution(self.model, self.price, self.take_over, self.cost_model, self.resamples, self.max_revisions)

    def prepare(self) -> None:
        """Solve for this price: some 20 ms, more with resamples and revisions."""
        self.solution  # noqa: B018  # kept for the decisions

    def at(self, parameter: float) -> PomdpPolicy:
        return replace(self, price=parameter)

    def at_effort(self, effort: float, scores: Sequence[float]) -> PomdpPolicy:
        """The price falls on a logarithmic scale, from twice the highest to half the lowest of `prices`. It is a power
        of 1.05, so that few prices are solved for while it moves.
        """
        prices = self.prices()
        high, low = math.log(2 * max(prices)), math.log(min(prices) / 2)
        step = math.log(_PRICE_STEP)
        return self.at(math.exp(round((high + effort * (low - high)) / step) * step))

    def with_options(self, spec: PolicySpec) -> PomdpPolicy:
        """The same fit with the options that were asked for, such as `pomdp+snapshot`.

        Raises:
            ConfigError: resamples or revised steps that the model knows nothing of.
        """
        return replace(
            self,
            belief="snapshot" if "snapshot" in spec.options else self.belief,
            take_over=self.take_over or "takeover" in spec.options,
            resamples=spec.resamples or self.resamples,
            max_revisions=spec.max_revisions or self.max_revisions,
            name=spec.name,
        )

    def prices(self) -> tuple[float, ...]:
        """Prices that an evaluation tries: a mean strong step costs 0.5 to 0.002 of a correct answer."""
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
        action = self._best(self.solution, belief, observation)
        assert isinstance(action, Action)  # of one belief
        return action

    def _best(self, solution: PomdpSolution, belief: Belief, seen: Observation) -> object:
        step, tokens = len(seen.tokens) - 1, seen.tokens[-1] + self.cost_model.per_strong_step
        texts = seen.strong_scores if seen.strong_texts else seen.draft_scores
        differing = len(set(texts[-1])) > 1 if texts else False
        return solution.action(
            step,
            belief,
            tokens,
            final=seen.final,
            drafts=seen.drafts,
            differing=differing,
            strong_texts=seen.strong_texts,
        )

    def flip_price(self, observation: Observation) -> float | None:
        """The price from which on the draft is kept; None if it is kept at every price. No gate is looked at."""
        belief = self.believe(observation)

        def kept(price: float) -> bool:
            solution = _solution.__wrapped__(
                self.model, price, self.take_over, self.cost_model, self.resamples, self.max_revisions
            )
            return self._best(solution, belief, observation) is Action.CONTINUE

        if kept(0.0):
            return None
        low, high = 0.0, 1.0 / observation.tokens[-1]  # no step is worth more than a correct answer
        while high - low > 1e-3 * high:
            middle = (low + high) / 2 if low else high / 4
            low, high = (low, middle) if kept(middle) else (middle, high)
        return high

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Write the policy and where it comes from; see `trim.policies.artifacts`."""
        model, costs = self.model, self.cost_model
        settings = {name: vars(model)[name] for name in _MODEL_SETTINGS}
        settings |= {name: vars(self)[name] for name in _POLICY_SETTINGS}
        settings |= {"cost_per_draft": costs.per_draft, "cost_per_strong_step": costs.per_strong_step}
        arrays = {
            "hazard": np.array(model.hazard),
            "minimum_edges": model.observation.minimum_edges,
            "score_edges": model.observation.score_edges,
            "mass": model.observation.mass,
            **_resample_arrays("resample_model", model.resample_model),
            **_resample_arrays("revise_model", model.revise_model),
        }
        for name, scores in (("repair", model.repair_observation), ("resample", model.resample_observation)):
            if scores is not None:
                arrays[f"{name}_score_edges"], arrays[f"{name}_mass"] = scores.score_edges, scores.mass
        if model.agreement is not None:
            arrays["agreement"] = np.array(model.agreement)
        Artifact("pomdp", settings, arrays, provenance).save(folder)

    @classmethod
    def load(
        cls, folder: Path, *, models: Models | None = None, on_mismatch: Literal["raise", "warn"] = "raise"
    ) -> PomdpPolicy:
        """Read what `save` wrote.

        Raises:
            ConfigError: unreadable, or made for other models (a warning with `on_mismatch="warn"`).
        """
        artifact = Artifact.load(folder, kind="pomdp", models=models, on_mismatch=on_mismatch)
        arrays = {_renamed(name): array for name, array in artifact.arrays.items()}
        settings = {_OLD_SETTINGS.get(name, name): value for name, value in artifact.settings.items()}
        with readable(folder, "POMDP policy"):
            if sum(array.size for array in arrays.values()) > _MOST_NUMBERS:
                raise ValueError(f"its arrays have more than {_MOST_NUMBERS:,} numbers")
            if unknown := settings.keys() - _KNOWN_SETTINGS:
                raise ValueError(f"it has an unknown {min(unknown)!r}")
            observation = ObservationBins(arrays["minimum_edges"], arrays["score_edges"], arrays["mass"])
            numbers = {
                name: number(settings, name)
                for name in settings.keys() - _OTHER_SETTINGS
                if settings[name] is not None or name not in _OPTIONAL_SETTINGS
            }
            for name in _WHOLE_SETTINGS & numbers.keys():
                numbers[name] = int(numbers[name])
            model = PomdpModel(
                hazard=tuple(arrays["hazard"]),
                observation=observation,
                resample_model=_resample_model(arrays, "resample_model"),
                revise_model=_resample_model(arrays, "revise_model"),
                repair_observation=_scores(arrays, "repair"),
                resample_observation=_scores(arrays, "resample"),
                agreement=tuple(arrays["agreement"].tolist()) if "agreement" in arrays else None,
                **{name: numbers.pop(name) for name in _MODEL_SETTINGS if name in numbers},
            )
            costs = CostModel(numbers.pop("cost_per_draft"), numbers.pop("cost_per_strong_step"))
            others = {name: settings[name] for name in _OTHER_SETTINGS & settings.keys()}
            made = cls(model, cost_model=costs, **numbers, **others)  # type: ignore[arg-type]
            if not isinstance(made.take_over, bool):
                raise ValueError("take_over must be true or false")
            return made


def open_saved(folder: Path, spec: PolicySpec, models: Models | None) -> PomdpPolicy:
    """The policy of a folder with the options that were asked for."""
    return PomdpPolicy.load(folder, models=models).with_options(spec)


_MODEL_SETTINGS = (
    "weak_accuracy",
    "strong_accuracy",
    "step_tokens",
    "repair_accuracy",
    "final_accuracy",
    "past_weight",
)
_POLICY_SETTINGS = ("price", "belief", "gate", "take_over", "resamples", "max_revisions")

_OTHER_SETTINGS = {"belief", "take_over"}
"""Those that are no numbers."""
_OPTIONAL_SETTINGS = {"repair_accuracy", "final_accuracy", "gate"}
_WHOLE_SETTINGS = {"resamples", "max_revisions"}
_KNOWN_SETTINGS = {*_MODEL_SETTINGS, *_POLICY_SETTINGS, "cost_per_draft", "cost_per_strong_step"}
_MOST_NUMBERS = 100_000
"""Entries of all arrays together: a fit has a few thousand, and solving takes time with them."""

_OLD_SETTINGS = {
    "retries": "resamples",
    "redos": "max_revisions",
    "revisions": "max_revisions",
    "draft_tokens": "cost_per_draft",
    "rewrite_tokens": "cost_per_strong_step",
}
"""Settings that earlier versions of TRIM saved under other names."""

_OLD_ARRAYS = (
    ("^retry_", "resample_"),
    ("^(retries|resamples)(?=_|$)", "resample_model"),
    ("^(redo|revise)(?=_steady|_mixed|$)", "revise_model"),
    ("_steady$", "_after_identical"),
    ("_mixed$", "_after_differing"),
)
"""The same of arrays: pattern and replacement, applied one after the other."""


def _renamed(name: str) -> str:
    """Today's name of an array that an earlier version of TRIM may have saved under another one."""
    for pattern, replacement in _OLD_ARRAYS:
        name = re.sub(pattern, replacement, name)
    return name


def _scores(arrays: Mapping[str, np.ndarray], name: str) -> ObservationBins | None:
    """As `PomdpPolicy.save` has written them."""
    if f"{name}_mass" not in arrays:
        return None
    return ObservationBins(np.array([0.0, 1.0]), arrays[f"{name}_score_edges"], arrays[f"{name}_mass"])


def _resample_arrays(name: str, model: ResampleModel | None) -> dict[str, np.ndarray]:
    """A resample model, and those of texts after two or more, for `_resample_model`."""
    if model is None:
        return {}
    own = np.array([*model.repeat_probability, model.accuracy_if_correct, model.accuracy_if_wrong])
    identical = _resample_arrays(f"{name}_after_identical", model.after_identical)
    return {name: own} | identical | _resample_arrays(f"{name}_after_differing", model.after_differing)


def _resample_model(arrays: Mapping[str, np.ndarray], name: str) -> ResampleModel | None:
    """As `PomdpPolicy.save` has written them."""
    if name not in arrays:
        return None
    later = (_resample_model(arrays, name + suffix) for suffix in ("_after_identical", "_after_differing"))
    correct, recoverable, lost, *rest = arrays[name].tolist()
    return ResampleModel((correct, recoverable, lost), *rest, *later)
