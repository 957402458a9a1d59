"""A judge of your own: recomputes what a step claims, such as `12*0.5=6`.

# trim.toml
[prm]
backend = "examples/own_judge.py:Arithmetic"
"""

from __future__ import annotations

import re

from trim import BaseBackend, JudgeSpec, Question, Scores

_CLAIM = re.compile(r"(-?\d+(?:\.\d+)?) ?([-+*/]) ?(\d+(?:\.\d+)?) ?= ?(-?\d+(?:\.\d+)?)")


class Arithmetic(BaseBackend):
    """Trusts a step whose arithmetic is right. `spec` is what `[prm]` says: model, address, timeout."""

    def __init__(self, spec: JudgeSpec) -> None:
        self.spec = spec

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """0.05 for a step with wrong arithmetic, 0.9 for right arithmetic, 0.6 for none."""
        return Scores(tuple(_score(step) for step in steps))


def _score(step: str) -> float:
    claims = [_holds(*claim) for claim in _CLAIM.findall(step.replace(",", ""))]
    if not claims:
        return 0.6
    return 0.9 if all(claims) else 0.05


def _holds(left: str, sign: str, right: str, said: str) -> bool:
    a, b = float(left), float(right)
    result = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else float("nan")}[sign]
    return abs(result - float(said)) < 0.01 * max(1.0, abs(result))
