"""Smoothie (Guha et al., arXiv 2412.04692): which model to trust, without labels, from how far answers lie apart.

Solutions are embedded and seen as noisy observations of one unknown good solution. From three generators' distances a
generator's own error follows: E|x_w - y|^2 = (E|x_w - x_s|^2 + E|x_w - x_t|^2 - E|x_s - x_t|^2) / 2. Averages are over
the nearest recorded questions, so that a new question is routed before anything is generated ("Smoothie-Train").

Departures: the third generator is whatever other policy the traces hold, such as random steps or a second weak sample,
so its errors are not independent of the others' as the method assumes. Only the DIFFERENCE of the weak and the strong
model's errors is used; it comes out as E|x_w - x_t|^2 - E|x_s - x_t|^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trim.baselines.query_level.text_embedding import Embedder
from trim.baselines.query_level.training_examples import Example
from trim.errors import ConfigError
from trim.stats import FloatArray

NEIGHBOURS = 20


@dataclass(frozen=True, eq=False)
class Smoothie:
    """Recorded questions as vectors (N, D), and how much farther weak than strong is from the third, squared (N,)."""

    vectors: FloatArray
    apart: FloatArray

    @classmethod
    def fit(cls, rows: Sequence[Example], vectors: FloatArray, embedder: Embedder) -> Smoothie:
        """Embed all solutions.

        Raises:
            ConfigError: the traces hold no third policy.
        """
        thirds = [row.third_text for row in rows if row.third_text is not None]
        if len(thirds) < len(rows):
            raise ConfigError("smoothie needs traces of a third policy beside always-weak and always-strong: random")
        weak, strong, third = map(
            embedder.embed, ([row.weak_text for row in rows], [row.strong_text for row in rows], thirds)
        )
        return cls(vectors, ((weak - third) ** 2).sum(axis=1) - ((strong - third) ** 2).sum(axis=1))

    def need(self, vectors: FloatArray) -> FloatArray:
        """How much larger the weak model's error is near each question, shape (M, D) to (M,)."""
        count = min(NEIGHBOURS, len(self.vectors))
        nearest = np.argpartition(-(vectors @ self.vectors.T), count - 1, axis=1)[:, :count]
        return np.asarray(self.apart[nearest].mean(axis=1))
