"""AutoMix's POMDP meta-verifier (Aggarwal et al., arXiv 2310.12963) for one pair of models: a table by votes.

The hidden state is whether the weak answer is right, wrong but corrected by the strong model, or beyond both; the votes
are the observation. With one decision the optimal policy asks the strong model iff what it adds given the votes,
E[strong right - weak right | votes], is worth its price. The table is estimated from recorded questions, each entry
drawn towards the mean of all as if by two more questions, so that votes that were rarely seen say little. Unlike a
threshold it need not be monotone: a self-verification that is wrong in a known way is of use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trim.baselines.query_level.cascade import verified
from trim.baselines.query_level.solvers import WholeSolutions
from trim.baselines.query_level.training_examples import Example
from trim.errors import ConfigError
from trim.policies.artifacts import Artifact, Models, Provenance, readable
from trim.policies.registry import folder_of
from trim.policies.spec import PolicySpec
from trim.protocols import Solver
from trim.stats import FloatArray

KIND = "automix-pomdp"
_PRIOR = 2.0  # questions


@dataclass(frozen=True, eq=False)
class MetaVerifier:
    """What a strong answer adds after each number of votes, in correct answers, shape (k + 1,)."""

    gains: FloatArray

    @classmethod
    def fit(cls, rows: Sequence[Example]) -> MetaVerifier:
        """Estimate from recorded questions with further weak samples.

        Raises:
            ConfigError: there are no such samples.
        """
        votes = [row.votes for row in rows if row.votes is not None]
        if len(votes) < len(rows):
            raise ConfigError(f"{KIND} needs further weak samples of every question: trim eval --policies weak-sample")
        gain = np.array([row.strong_right - row.weak_right for row in rows], float)
        count = np.bincount(votes)
        return cls((np.bincount(votes, gain) + _PRIOR * gain.mean()) / (count + _PRIOR))

    def accepts(self, votes: int, price: float) -> bool:
        """Whether the weak answer is kept when a strong one costs `price` correct answers."""
        return bool(self.gains[min(votes, len(self.gains) - 1)] <= price)

    def save(self, folder: Path, provenance: Provenance) -> None:
        """Write the table and where it comes from."""
        Artifact(KIND, {}, {"gains": self.gains}, provenance).save(folder)

    @classmethod
    def load(cls, folder: Path, models: Models | None = None) -> MetaVerifier:
        """Read what `save` wrote.

        Raises:
            ConfigError: unreadable, of another kind, or made for other models.
        """
        with readable(folder, "meta-verifier"):
            made = cls(Artifact.load(folder, kind=KIND, models=models).arrays["gains"])
            made.accepts(0, 0.0)
        return made


def automix_pomdp(known: WholeSolutions, spec: PolicySpec) -> Callable[[float], Solver]:
    """By the price of a strong answer."""
    meta = MetaVerifier.load(folder_of(spec), known.models())
    return lambda price: verified(known, lambda votes: meta.accepts(votes, price))
