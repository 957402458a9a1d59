"""Policies: pure functions from observation to action, and the one scalar that each family has."""

from __future__ import annotations

from dataclasses import replace

from trim.errors import ConfigError
from trim.policies.fixed import AlwaysStrong, AlwaysWeak, RandomSteps
from trim.policies.threshold import Threshold
from trim.protocols import Policy

__all__ = ["NAMES", "AlwaysStrong", "AlwaysWeak", "RandomSteps", "Threshold", "build", "scored", "sweep"]

NAMES = ("always-weak", "always-strong", "random", "threshold")
"""Policies that `build` knows. The oracle needs a task's labels and pomdp a folder: they are made where those are."""


def build(name: str, parameter: float | None = None, *, retries: int = 0) -> Policy:
    """A policy by name.

    Args:
        name: one of `NAMES`.
        parameter: random: rate p of strong steps; threshold: k, steps scored below it are rejected. Both in [0, 1].
        retries: threshold only: drafts that the weak model may try again before the strong model is asked.

    Raises:
        ConfigError: unknown name, or a parameter that is missing, superfluous or out of range.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown policy {name!r}; there are {', '.join(NAMES)} and pomdp=FOLDER")
    if name in ("always-weak", "always-strong"):
        if parameter is not None:
            raise ConfigError(f"policy {name} has no parameter")
        return AlwaysWeak() if name == "always-weak" else AlwaysStrong()
    if parameter is None:
        raise ConfigError(f"policy {name} needs a parameter in [0, 1]")
    return RandomSteps(parameter) if name == "random" else Threshold(parameter, retries)


def sweep(name: str) -> tuple[float | None, ...]:
    """The parameters that an evaluation tries by default."""
    if name == "random":
        return (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    if name == "threshold":
        return (0.05, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.9, 0.93, 0.95, 0.97)
    return (None,)


def scored(policy: Policy) -> Policy:
    """The same policy with every draft scored for the record, even if it looks at no score (for `trim fit`)."""
    return replace(policy, uses_scores=True) if isinstance(policy, AlwaysWeak | RandomSteps) else policy
