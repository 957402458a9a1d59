"""A recalibrated judge differs from the original only in its scores."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from trim.backends.base import BaseBackend
from trim.errors import ConfigError
from trim.protocols import Probe
from trim.scoring.recalibrated import RecalibratedJudge, RecalibrationCurve
from trim.simulation import SimulatedPrm
from trim.testing import check_judge
from trim.types import Question, Scores

CURVE = RecalibrationCurve((0.2, 0.8), (0.4, 0.6))


class Down(BaseBackend):
    """A judge whose server is down."""

    identity = "vllm:m at http://x"
    closed = prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    async def probe(self, *, quick: bool = False) -> Probe:
        return Probe(self.identity, problem=f"cannot be reached, quick={quick}")

    async def aclose(self) -> None:
        self.closed += 1

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        self.usage.prompt_tokens += 7
        return Scores((0.5,) * len(steps), 7)


@pytest.mark.parametrize(("score", "found"), [(0.0, 0.4), (0.2, 0.4), (0.5, 0.5), (0.8, 0.6), (1.0, 0.6)])
def test_the_curve_is_a_line_between_its_points_and_flat_outside(score: float, found: float) -> None:
    assert CURVE(score) == pytest.approx(found)


def test_a_curve_is_read_as_it_was_written(tmp_path: Path) -> None:
    CURVE.save(tmp_path / "curve.json")
    assert RecalibrationCurve.load(tmp_path / "curve.json") == CURVE
    with pytest.raises(ConfigError, match="there is no such file"):
        RecalibrationCurve.load(tmp_path / "none.json")


def test_everything_else_is_the_judges_own() -> None:
    inner = Down()
    judge = RecalibratedJudge(inner, CURVE, "curve.json")

    async def run() -> None:
        judge.prepare()
        assert (await judge.probe()).problem == "cannot be reached, quick=False"
        assert (await judge.probe(quick=True)).problem == "cannot be reached, quick=True"
        assert await judge.score(Question("q"), ("a", "b")) == Scores((0.5, 0.5), 7)
        await judge.aclose()

    asyncio.run(run())
    assert judge.identity == "vllm:m at http://x through curve.json"
    assert judge.usage.prompt_tokens == 7
    assert (inner.prepared, inner.closed) == (1, 1)


def test_it_conforms() -> None:
    steps = ("right 1", "wrong 2 (slip)", "right 3")
    asyncio.run(check_judge(RecalibratedJudge(SimulatedPrm(0.9), CURVE), Question("q"), steps))
