"""Scores through a curve that calibrates them; `trim eval-prm --recalibrate` fits one."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from trim.atomic import write_text
from trim.backends.base import WrappedBackend, score_steps
from trim.errors import ConfigError
from trim.json_files import read_json
from trim.protocols import Judge
from trim.types import Question, Scores, Step


@dataclass(frozen=True)
class RecalibrationCurve:
    """A rising line through points (x, y) in [0, 1], flat beyond its ends. The order of scores never turns round.

    Raises:
        ConfigError: not rising, or outside [0, 1].
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        inside = all(0.0 <= value <= 1.0 for value in (*self.x, *self.y))
        rising = all(a < b for a, b in pairwise(self.x)) and all(a <= b for a, b in pairwise(self.y))
        if not (self.x and len(self.x) == len(self.y) and inside and rising):
            raise ConfigError("a recalibration curve needs points in [0, 1] with rising x and never falling y")

    def __call__(self, score: float) -> float:
        """The calibrated score."""
        after = bisect_right(self.x, score)
        if after in (0, len(self.x)):
            return self.y[0] if after == 0 else self.y[-1]
        share = (score - self.x[after - 1]) / (self.x[after] - self.x[after - 1])
        return self.y[after - 1] + share * (self.y[after] - self.y[after - 1])

    def save(self, path: Path) -> None:
        """Write JSON."""
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, path: Path) -> RecalibrationCurve:
        """Read what `save` wrote.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            values = read_json(path)
            return cls(tuple(map(float, values["x"])), tuple(map(float, values["y"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError.reading(path, "not a recalibration curve", error) from None


class RecalibratedJudge(WrappedBackend):
    """Another judge's scores through a curve.

    Args:
        judge: gives the scores.
        curve: maps them.
        name: what `identity` calls the curve, such as the name of its file.
    """

    def __init__(self, judge: Judge, curve: RecalibrationCurve, name: str = "a curve") -> None:
        super().__init__(judge)
        self._judge = judge
        self._curve = curve
        self._name = name

    @property
    def identity(self) -> str:
        """The judge and the curve."""
        return f"{self._judge.identity} through {self._name}"

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """See `trim.protocols.Judge`."""
        return self._calibrated(await self._judge.score(question, steps))

    async def score_steps(self, question: Question, steps: tuple[Step, ...]) -> Scores:
        """See `trim.protocols.StepJudge`."""
        return self._calibrated(await score_steps(self._judge, question, steps))

    def _calibrated(self, scores: Scores) -> Scores:
        return replace(scores, values=tuple(map(self._curve, scores.values)))
