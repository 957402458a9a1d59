"""Rules that compare something about a draft with one constant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from trim.protocols import Tunable


@dataclass(frozen=True)
class ConstantRule(Tunable):
    """A policy whose `parameter` is the constant; classes say what it is by default."""

    parameter: float = 0.5

    def at(self, parameter: float) -> Self:
        return replace(self, parameter=parameter)
