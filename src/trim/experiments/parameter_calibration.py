"""From a wish (a strong share, an accuracy, a cost) to a policy's parameter, from the traces of an evaluation.

The wanted figure is interpolated between neighbouring operating points, from the cheap end up to the first that reaches
it: linearly in the parameter, for prices in their logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trim.errors import ConfigError
from trim.metrics.operating_point import Tally
from trim.metrics.outcomes import common_questions, question_means
from trim.policies import SAVED, PolicySpec

Kind = Literal["strong_share", "accuracy", "cost"]
Tallies = Mapping[tuple[str, float | None], Tally]
FloatArray = NDArray[np.float64]

_DRAWS = 2_000
_FEWEST = 40  # questions


@dataclass(frozen=True)
class Wish:
    """What a user wants: a mean over questions. Strong share in [0, 1], cost per question in the unit of prices."""

    kind: Kind
    value: float


@dataclass(frozen=True)
class Figures:
    """Means over questions at a parameter, interpolated between operating points."""

    accuracy: float
    strong_tokens: float
    strong_share: float | None
    cost: float


@dataclass(frozen=True)
class HeldOut:
    """The check: the parameter found on one half of the questions, and what the other half has there (95% interval)."""

    questions: int
    parameter: float
    realised: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """A parameter with the 95% interval that a bootstrap over questions gives it, and what to expect there."""

    policy: str
    wish: Wish
    parameter: float
    low: float
    high: float
    questions: int
    expected: Figures
    held_out: HeldOut


def calibrate(tallies: Tallies, policy: str, wish: Wish) -> Calibration:
    """The parameter at which a policy fulfils a wish.

    Args:
        tallies: of an evaluation: this policy at several parameters, and the two ends of the scale.
        policy: threshold, random, pomdp, agg or seq.
        wish: what to reach.

    Raises:
        ConfigError: fewer than two points or 40 questions, no always-strong for a share, or out of the points' reach.
    """
    table = _Table.of(tallies, policy, wish.kind)
    everybody = np.arange(table.questions)
    wanted = table.figure(wish.kind, everybody)
    if not wanted.min() <= wish.value <= wanted.max():
        raise ConfigError(
            f"{wish.kind.replace('_', ' ')} {wish.value:g} is out of reach: the points of {policy} go from "
            f"{wanted.min():.4g} to {wanted.max():.4g}; run trim eval with other --parameters"
        )
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, table.questions, table.questions) for _ in range(_DRAWS)]
    parameters = [table.parameter(wish, drawn) for drawn in draws]
    low, high = np.percentile(parameters, (2.5, 97.5))
    parameter = table.parameter(wish, everybody)
    figures = {kind: table.at(parameter, table.figure(kind, everybody)) for kind in ("accuracy", "tokens", "cost")}
    share = figures["tokens"] / table.full if table.full else None
    return Calibration(
        policy=policy,
        wish=wish,
        parameter=parameter,
        low=float(low),
        high=float(high),
        questions=table.questions,
        expected=Figures(figures["accuracy"], figures["tokens"], share, figures["cost"]),
        held_out=_check(table, wish, rng),
    )


def _check(table: _Table, wish: Wish, rng: np.random.Generator) -> HeldOut:
    order = rng.permutation(table.questions)
    first, second = order[: table.questions // 2], order[table.questions // 2 :]
    parameter = table.parameter(wish, first)
    realised = [table.at(parameter, table.figure(wish.kind, rng.choice(second, len(second)))) for _ in range(_DRAWS)]
    low, high = np.percentile(realised, (2.5, 97.5))
    value = table.at(parameter, table.figure(wish.kind, second))
    return HeldOut(len(second), parameter, value, float(low), float(high))


@dataclass(frozen=True, eq=False)
class _Table:
    """P points from cheap to dear, Q questions that all points answered. Arrays (P,), then (P, Q); `strong` (Q,)."""

    parameters: FloatArray
    right: FloatArray
    tokens: FloatArray
    costs: FloatArray
    strong: FloatArray | None  # tokens of the strong model alone
    logarithmic: bool

    @classmethod
    def of(cls, tallies: Tallies, policy: str, kind: Kind) -> _Table:
        logarithmic = PolicySpec.parse(policy).family in SAVED
        points = {
            parameter: tally
            for (name, parameter), tally in tallies.items()
            if name == policy and parameter is not None and (parameter > 0 or not logarithmic)
        }
        ends = {"always-weak": 0.0, "always-strong": 1.0} if not logarithmic else {}
        points = {
            parameter: tallies[name, None] for name, parameter in ends.items() if (name, None) in tallies
        } | points
        if len(points) < 2:
            raise ConfigError(f"the traces have {len(points)} points of {policy}, at least two are needed: trim eval")
        strong = tallies.get(("always-strong", None))
        if kind == "strong_share" and strong is None:
            raise ConfigError(
                "a strong share needs always-strong in the traces: trim eval --policies always-strong,..."
            )
        everybody = [*points.values(), *([strong] if strong else [])]
        try:
            chosen = common_questions(everybody)
        except ValueError:
            chosen = ()
        if len(chosen) < _FEWEST:
            raise ConfigError(f"{len(chosen)} questions were answered at every point, at least {_FEWEST} are needed")
        order = sorted(points, reverse=logarithmic)
        right, tokens, costs = np.moveaxis(question_means([points[parameter] for parameter in order], chosen), 1, 0)
        alone = question_means([strong], chosen)[0, 1] if strong else None
        return cls(np.array(order), right, tokens, costs, strong=alone, logarithmic=logarithmic)

    @property
    def questions(self) -> int:
        return len(self.right[0])

    @property
    def full(self) -> float | None:
        """Mean tokens of the strong model alone."""
        return None if self.strong is None else float(self.strong.mean())

    def figure(self, kind: str, chosen: NDArray[np.intp]) -> FloatArray:
        """A mean over some questions at every point, shape (P,)."""
        if kind == "strong_share":
            assert self.strong is not None
            return np.asarray(self.tokens[:, chosen].mean(axis=1) / self.strong[chosen].mean())
        table = {"accuracy": self.right, "tokens": self.tokens, "cost": self.costs}[kind]
        return np.asarray(table[:, chosen].mean(axis=1))

    def parameter(self, wish: Wish, chosen: NDArray[np.intp]) -> float:
        """The first parameter from the cheap end that reaches the wish on these questions; an end where none does."""
        reached = np.maximum.accumulate(self.figure(wish.kind, chosen))
        after = int(np.searchsorted(reached, wish.value))
        if after in (0, len(reached)):
            return float(self.parameters[min(after, len(reached) - 1)])
        share = (wish.value - reached[after - 1]) / (reached[after] - reached[after - 1])
        return float(self._back(np.interp(share, (0, 1), self._scale(self.parameters[after - 1 : after + 1]))))

    def at(self, parameter: float, values: FloatArray) -> float:
        """Interpolate a figure at a parameter."""
        scale, x = self._scale(self.parameters), self._scale(np.array([parameter]))
        step = -1 if self.logarithmic else 1
        return float(np.interp(x, scale[::step], values[::step])[0])

    def _scale(self, parameters: FloatArray) -> FloatArray:
        return np.log(parameters) if self.logarithmic else parameters

    def _back(self, x: float) -> float:
        return float(np.exp(x)) if self.logarithmic else x
