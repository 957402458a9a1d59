"""Policies: pure functions from observation to action, and the one scalar that each family has.

On command lines and in settings a policy is `NAME`, with its ways after plus signs and a saved policy's folder at the
end: `threshold`, `threshold+2` (up to two resamples before the strong model is asked), `threshold+revise` (what the
strong model writes may be written again), `pomdp+snapshot=fits/gsm`.
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
    "PolicySpec",
    "RandomSteps",
    "Threshold",
    "build",
    "scored",
    "shipped",
    "sweep",
]

NAMES = ("always-weak", "always-strong", "random", "threshold")
"""Policies that `build` knows. The oracle needs a task's labels, saved ones a folder: they are made where those are."""

REVISE, REVISIONS = "revise", 2
"""The way of policies that look at the strong model's text too, and how often they may have it written again."""

SAVED = ("pomdp", "agg", "seq")
"""Policies that are read from a folder: the one given, or the one shipped for the embedded models."""


@dataclass(frozen=True)
class PolicySpec:
    """What a policy was asked for as: `family[+way...][=folder]`.

    `resamples` is the way that is a number; the others are words, such as `snapshot` and `takeover` of pomdp.
    """

    family: str
    resamples: int = 0
    options: tuple[str, ...] = ()
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> PolicySpec:
        """Read it. Whether there is such a policy is up to those who build it."""
        name, _, folder = text.strip().partition("=")
        family, *options = name.split("+")
        resamples = [int(option) for option in options if option.isdecimal()]
        return cls(family, sum(resamples), tuple(option for option in options if not option.isdecimal()), folder)

    @property
    def max_revisions(self) -> int:
        """How often the strong model's own text may be written again."""
        return REVISIONS if REVISE in self.options else 0

    @property
    def name(self) -> str:
        """What results call it: all but the folder."""
        return "+".join([self.family, *self.options, *([str(self.resamples)] if self.resamples else [])])


def build(name: str, parameter: float | None = None) -> Policy:
    """A policy by name.

    Args:
        name: one of `NAMES`; random and threshold may have resamples and revise, as in `threshold+revise+2`.
        parameter: random: rate p of strong steps; threshold: k, steps scored below it are rejected. Both in [0, 1].

    Raises:
        ConfigError: unknown name, or a parameter that is missing, superfluous or out of range.
    """
    spec = PolicySpec.parse(name)
    if spec.family not in NAMES or spec.folder:
        raise ConfigError(f"unknown policy {name!r}; there are {', '.join(NAMES)}, {'=FOLDER, '.join(SAVED)}=FOLDER")
    fixed = spec.family in ("always-weak", "always-strong")
    if set(spec.options) - {REVISE} or ((spec.options or spec.resamples) and fixed):
        ways = "no ways" if fixed else "only resamples and revise, as in +2 and +revise"
        raise ConfigError(f"policy {name!r}: {spec.family} has {ways}")
    if fixed:
        if parameter is not None:
            raise ConfigError(f"policy {name} has no parameter")
        return AlwaysWeak() if spec.family == "always-weak" else AlwaysStrong()
    if parameter is None:
        raise ConfigError(f"policy {name} needs a parameter in [0, 1]")
    kind = RandomSteps if spec.family == "random" else Threshold
    return kind(parameter, spec.resamples, spec.name, max_revisions=spec.max_revisions)


def shipped(family: str) -> str:
    """The folder of the saved policy that comes with the embedded models."""
    return str(files("trim") / "embedded" / family)


def sweep(name: str) -> tuple[float | None, ...]:
    """The parameters that an evaluation tries by default."""
    family = PolicySpec.parse(name).family
    if family == "random":
        return (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    if family == "threshold":
        return (0.05, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.9, 0.93, 0.95, 0.97)
    return (None,)


def scored(policy: Policy) -> Policy:
    """The same policy with every draft scored for the record, even if it looks at no score (for `trim fit`)."""
    return replace(policy, uses_scores=True) if isinstance(policy, AlwaysWeak | RandomSteps) else policy
