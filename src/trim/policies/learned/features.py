"""What the learned policies see: an observation and a price as numbers of about unit size.

A name says what is read and how it is scaled, and an artifact stores the names in their order: numbers that this
version would compute in another way are refused when it is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trim.errors import ConfigError
from trim.types import Action, Observation

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class PriceRange:
    """The prices that a network knows, per strong token in correct answers.

    Raises:
        ConfigError: not 0 < low <= high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 < self.low <= self.high < math.inf:
            raise ConfigError(f"a range of prices runs from above 0 to no lower number, not {self.low}:{self.high}")

    def scaled(self, price: float) -> float:
        """The logarithm of a price, -1 at the low end and 1 at the high one; 0 where both are one.

        Raises:
            ConfigError: a price outside the range, for which the network was not trained.
        """
        if not self.low * (1 - 1e-9) <= price <= self.high * (1 + 1e-9):
            raise ConfigError(f"trained for prices from {self.low:g} to {self.high:g} per strong token, not {price:g}")
        width = math.log(self.high / self.low)
        return 2 * math.log(price / self.low) / width - 1 if width else 0.0

    def at(self, share: float) -> float:
        """The price at this share of the way from low (0) to high (1), in logarithms."""
        return float(self.low ** (1 - share) * self.high**share)

    def grid(self, count: int) -> tuple[float, ...]:
        """So many prices at equal ratios, both ends among them; round numbers in between."""
        if count == 1 or self.low == self.high:
            return (self.at(0.5),)
        inner = (float(f"{self.at(i / (count - 1)):.2g}") for i in range(1, count - 1))
        return (self.low, *(min(max(price, self.low), self.high) for price in inner), self.high)


AGGREGATES: Mapping[str, Callable[[Observation], float]] = MappingProxyType(
    {
        "score": lambda o: o.score,
        "minimum": lambda o: min(o.scores[:-1], default=1.0),
        "product": lambda o: math.prod(o.scores[:-1]),
        "tokens/300": lambda o: o.tokens[-1] / 300,
        "step/30": lambda o: len(o.tokens) / 30,
        "final": lambda o: float(o.final),
        "best": lambda o: max(o.draft_scores[-1] if o.draft_scores else (), default=o.score),
        "drafts/4": lambda o: o.drafts / 4,
    }
)
"""All that there is for TRIM-Agg, besides the price."""

PAPER = ("score", "minimum", "tokens/300", "step/30")
"""The paper's list (section on TRIM-Agg)."""
RELEASED = (*PAPER, "product")
"""What its released code computes."""
OURS = (*RELEASED, "final")
"""The default: the draft that ends a solution is worth another price than one that more steps build on."""
WITH_RESAMPLE = (*OURS, "best", "drafts/4")
"""Where RESAMPLE is among the actions: CONTINUE then keeps the best of the step's drafts."""

STEPWISE = ("score", "draft_score", "best", "tokens/300", "strong", "step/30", "final", "drafts/4")
"""What TRIM-Seq sees of each step; the draft on the table is the last."""


@dataclass(frozen=True)
class Aggregate:
    """One vector for the whole observation: `names`, then log price. Shape (len(names) + 1,).

    Raises:
        ConfigError: a name that is not in `AGGREGATES`.
    """

    names: tuple[str, ...] = OURS

    def __post_init__(self) -> None:
        if unknown := set(self.names) - set(AGGREGATES):
            raise ConfigError(f"unknown features {', '.join(sorted(unknown))}; there are {', '.join(AGGREGATES)}")

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return len(self.names) + 1

    def read(self, observation: Observation, scaled_price: float) -> Vector:
        """The figures as one vector, in the order of their names."""
        return np.array([*(AGGREGATES[name](observation) for name in self.names), scaled_price], np.float32)


@dataclass(frozen=True)
class Stepwise:
    """One vector for each step: `names`, then log price. Shape (t, len(names) + 1).

    Of a kept step, `score` is that of the kept text, `draft_score` that of the last draft (which the decision was made
    on) and `best` that of the best one.

    Raises:
        ConfigError: other names than `STEPWISE`.
    """

    names: tuple[str, ...] = STEPWISE

    def __post_init__(self) -> None:
        if self.names != STEPWISE:
            raise ConfigError(f"the features of a step are {', '.join(STEPWISE)}, not {', '.join(self.names)}")

    @property
    def width(self) -> int:
        """Numbers for a step."""
        return len(self.names) + 1

    def read(self, observation: Observation, scaled_price: float) -> Vector:
        """A vector per step, the draft on the table last."""
        scores, drafts = observation.scores, observation.draft_scores
        last = len(scores) - 1
        rows = []
        for i, score in enumerate(scores):
            of_drafts = (drafts[i] if i < len(drafts) else ()) or (score,)
            strong = i < last and observation.actions[i] is not Action.CONTINUE
            rows.append(
                (
                    score,
                    of_drafts[-1],
                    max(of_drafts),
                    observation.tokens[i] / 300,
                    float(strong),
                    (i + 1) / 30,
                    float(i == last and observation.final),
                    len(of_drafts) / 4,
                    scaled_price,
                )
            )
        return np.array(rows, np.float32)
