"""Policies: pure functions from observation to action, and the one scalar that each family has.

On command lines and in settings a policy is `NAME`, with its ways after plus signs and a saved policy's folder at the
end: `threshold`, `threshold+2` (up to two retries before the strong model is asked), `threshold+redo` (what the strong
model writes may be written again), `pomdp+snapshot=fits/gsm`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files

from trim.errors import ConfigError
from trim.policies.fixed import AlwaysStrong, AlwaysWeak, RandomSteps
from trim.policies.threshold import Threshold
from trim.protocols import Policy

__all__ = [
    "NAMES",
    "SAVED",
    "AlwaysStrong",
    "AlwaysWeak",
    "RandomSteps",
    "Spec",
    "Threshold",
    "build",
    "scored",
    "shipped",
    "sweep",
]

NAMES = ("always-weak", "always-strong", "random", "threshold")
"""Policies that `build` knows. The oracle needs a task's labels, saved ones a folder: they are made where those are."""

REDO, REDOS = "redo", 2
"""The way of policies that look at the strong model's text too, and how often they may have it written again."""

SAVED = ("pomdp", "agg", "seq")
"""Policies that are read from a folder: the one given, or the one shipped for the embedded models."""


@dataclass(frozen=True)
class Spec:
    """What a policy was asked for as: `family[+way...][=folder]`.

    `retries` is the way that is a number; the others are words, such as `snapshot` and `takeover` of pomdp.
    """

    family: str
    retries: int = 0
    ways: tuple[str, ...] = ()
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read it. Whether there is such a policy is up to those who build it."""
        name, _, folder = text.strip().partition("=")
        family, *ways = name.split("+")
        retries = [int(way) for way in ways if way.isdecimal()]
        return cls(family, sum(retries), tuple(way for way in ways if not way.isdecimal()), folder)

    @property
    def redos(self) -> int:
        """How often the strong model's own text may be written again."""
        return REDOS if REDO in self.ways else 0

    @property
    def name(self) -> str:
        """What results call it: all but the folder."""
        return "+".join([self.family, *self.ways, *([str(self.retries)] if self.retries else [])])


def build(name: str, parameter: float | None = None) -> Policy:
    """A policy by name.

    Args:
        name: one of `NAMES`; random and threshold may have retries and redo, as in `threshold+redo+2`.
        parameter: random: rate p of strong steps; threshold: k, steps scored below it are rejected. Both in [0, 1].

    Raises:
        ConfigError: unknown name, or a parameter that is missing, superfluous or out of range.
    """
    spec = Spec.parse(name)
    if spec.family not in NAMES or spec.folder:
        raise ConfigError(f"unknown policy {name!r}; there are {', '.join(NAMES)}, {'=FOLDER, '.join(SAVED)}=FOLDER")
    fixed = spec.family in ("always-weak", "always-strong")
    if set(spec.ways) - {REDO} or ((spec.ways or spec.retries) and fixed):
        ways = "no ways" if fixed else "only retries and redo, as in +2 and +redo"
        raise ConfigError(f"policy {name!r}: {spec.family} has {ways}")
    if fixed:
        if parameter is not None:
            raise ConfigError(f"policy {name} has no parameter")
        return AlwaysWeak() if spec.family == "always-weak" else AlwaysStrong()
    if parameter is None:
        raise ConfigError(f"policy {name} needs a parameter in [0, 1]")
    kind = RandomSteps if spec.family == "random" else Threshold
    return kind(parameter, spec.retries, spec.name, redos=spec.redos)


def shipped(family: str) -> str:
    """The folder of the saved policy that comes with the embedded models."""
    return str(files("trim") / "embedded" / family)


def sweep(name: str) -> tuple[float | None, ...]:
    """The parameters that an evaluation tries by default."""
    family = Spec.parse(name).family
    if family == "random":
        return (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    if family == "threshold":
        return (0.05, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.9, 0.93, 0.95, 0.97)
    return (None,)


def scored(policy: Policy) -> Policy:
    """The same policy with every draft scored for the record, even if it looks at no score (for `trim fit`)."""
    return replace(policy, uses_scores=True) if isinstance(policy, AlwaysWeak | RandomSteps) else policy
