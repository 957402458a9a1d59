"""The rivals: rules and routers of other papers, on the same models, questions and bill as TRIM's own policies.

Step level (this list): policies over the same observations. Query level (`query`, `cascade`, `learned`): solvers that
choose a model for a whole question. Each file cites its paper and says where it departs from it.
"""

from __future__ import annotations

from collections.abc import Callable

from trim.baselines.step_level.confidence import Confidence
from trim.baselines.step_level.glimp_router import GlimpRouter
from trim.baselines.step_level.rsd import RsdClipped, rsd
from trim.baselines.step_level.spec_reason import SpecReason
from trim.baselines.step_level.take_over import TakeOver
from trim.errors import ConfigError
from trim.protocols import Policy

__all__ = [
    "LEARNED",
    "QUERY_LEVEL",
    "STEP_LEVEL",
    "Confidence",
    "GlimpRouter",
    "RsdClipped",
    "SpecReason",
    "TakeOver",
    "build_step_level",
    "rsd",
    "step_sweep",
]

STEP_LEVEL = ("rsd", "rsd-clipped", "spec-reason", "glimp-router", "confidence", "take-over")
"""Step-level rivals by name."""

LEARNED = ("similarity", "factorisation", "classifier", "smoothie")
"""Query-level routers that `trim fit router` trains; given as NAME=FOLDER, as is automix-pomdp."""

QUERY_LEVEL = ("random-query", "oracle-query", "prm-cascade", "automix", "automix-pomdp", *LEARNED)
"""Query-level rivals by name."""

_SWEEPS: dict[str, tuple[float | None, ...]] = {
    "rsd": (0.7,),
    "rsd-clipped": (None,),
    "spec-reason": (1, 3, 5, 6, 7, 8, 9),
    "glimp-router": (0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0),
    "confidence": (0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.985, 0.995, 0.998, 0.9995),
    "take-over": (0.05, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.93, 0.97),
}


def step_sweep(name: str) -> tuple[float | None, ...]:
    """The parameters that an evaluation tries by default: those of the paper where it names some."""
    return _SWEEPS[name]


def build_step_level(name: str, parameter: float | None = None) -> Policy:
    """A step-level rival at a parameter; None: the middle of its sweep.

    Raises:
        ConfigError: unknown name, or a parameter that is out of range or that the rival does not have.
    """
    if name not in STEP_LEVEL:
        raise ConfigError(f"unknown policy {name!r}")
    if name == "rsd-clipped":
        if parameter is not None:
            raise ConfigError("policy rsd-clipped has no parameter")
        return RsdClipped()
    value = parameter if parameter is not None else _SWEEPS[name][len(_SWEEPS[name]) // 2]
    assert value is not None
    made: dict[str, Callable[[float], Policy]] = {
        "rsd": rsd,
        "spec-reason": SpecReason,
        "glimp-router": GlimpRouter,
        "confidence": Confidence,
        "take-over": TakeOver,
    }
    return made[name](value)
