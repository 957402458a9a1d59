"""From a target (a strong share, an accuracy, a cost) to a policy's parameter, from the traces of an evaluation.

The wanted figure is interpolated between neighbouring operating points, from the cheap end up to the first that reaches
it: linearly in the parameter, for prices in their logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from math import isnan
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from trim.atomic import write_json
from trim.errors import ConfigError
from trim.experiments.recorded_runs import Recorded
from trim.metrics.tally import Tally, common_questions, question_means
from trim.policies import FAMILIES, PolicySpec, open_sweep
from trim.policies.artifacts import SCHEMA, Artifact, Provenance
from trim.policies.registry import check, family_of, known, listing
from trim.stats import Estimate, FloatArray, Indices, from_resamples, resamples

Kind = Literal["strong_share", "accuracy", "cost"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Tallies = Mapping[tuple[str, float | None], Tally]

_DRAWS = 2_000
_FEWEST = 40  # questions


@dataclass(frozen=True)
class Target:
    """What to reach, a mean over questions: strong share in [0, 1], accuracy, or cost per question in dollars."""

    kind: Kind
    value: float


@dataclass(frozen=True)
class Figures:
    """Means over questions at a parameter, interpolated between operating points."""

    accuracy: float
    strong_tokens: float
    strong_share: float | None
    cost: float | None  # dollars; None: a price is not known


@dataclass(frozen=True)
class HeldOut:
    """The check: the parameter found on one half of the questions, and what the other half has there."""

    parameter: float
    realised: Estimate


@dataclass(frozen=True)
class Calibration:
    """A parameter, its interval from a bootstrap over questions, and what to expect there."""

    policy: str
    target: Target
    parameter: Estimate
    expected: Figures
    held_out: HeldOut


@dataclass(frozen=True)
class SavedCalibration:
    """A calibration, the folder of the policy that it is for (empty: none), and whose traces it is from."""

    found: Calibration
    folder: str
    provenance: Provenance

    def to_json(self) -> dict[str, object]:
        """The content of the file, which `trim.policies.artifacts.CalibratedPolicy` reads."""
        found, held_out = self.found, self.found.held_out
        return {
            "schema": SCHEMA,
            "kind": "calibration",
            "policy": found.policy,
            "target": asdict(found.target),
            "parameter": found.parameter.value,
            **_interval(found.parameter),
            "expected": asdict(found.expected),
            "held_out": {
                "parameter": held_out.parameter,
                "realised": held_out.realised.value,
                **_interval(held_out.realised),
            },
            "folder": self.folder or None,
            "provenance": asdict(self.provenance),
        }

    def save(self, path: Path) -> None:
        """Write the file, and the folders above it that are missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.to_json())


def _interval(estimate: Estimate) -> dict[str, float]:
    return {"low": estimate.low, "high": estimate.high, "questions": estimate.count}


def calibrate_run(folder: Path, spec: PolicySpec, target: Target) -> SavedCalibration:
    """Calibrate a policy on the traces of an evaluation.

    Args:
        folder: what `trim eval --out` wrote.
        spec: a policy of steps with a parameter, a saved one with its folder.
        target: what to reach.

    Raises:
        ConfigError: see `calibrate`; no such policy, or it was made for other models.
        TraceError: the traces cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder")
    recorded = Recorded.of([folder])
    models = recorded.models(None)
    check(spec)
    if not family_of(spec).tunable:
        known_ones = listing(lambda family: family.tunable)
        raise ConfigError(f"policy {spec.name!r} has no parameter to calibrate; {known_ones}")
    if spec.folder:
        Artifact.load(Path(spec.folder), kind=spec.family, models=models)
    tallies: dict[tuple[str, float | None], Tally] = {}
    for trace in recorded.traces():
        tallies.setdefault((trace.policy, trace.parameter), Tally()).add(trace)
    traced = spec.name if spec.family in FAMILIES else open_sweep(spec)[0].name  # as traces call it
    found = replace(calibrate(tallies, traced, target), policy=spec.name)
    provenance = Provenance(models, recorded.task(None), date.today().isoformat(), found.parameter.count)
    return SavedCalibration(found, spec.folder, provenance)


def calibrate(tallies: Tallies, policy: str, target: Target) -> Calibration:
    """The parameter at which a policy reaches a target.

    Args:
        tallies: of an evaluation: this policy at several parameters, and the two ends of the scale.
        policy: one with a parameter, as traces call it.
        target: what to reach.

    Raises:
        ConfigError: fewer than two points or 40 questions, no always-strong for a share, or out of the points' reach.
    """
    table = _Table.of(tallies, policy, target.kind)
    all_questions = np.arange(table.questions)
    wanted = table.figure(target.kind, all_questions)
    if np.isnan(wanted).any():
        raise ConfigError("the traces do not know their cost: set the prices of every role and run trim eval again")
    if not wanted.min() <= target.value <= wanted.max():
        raise ConfigError(
            f"{target.kind.replace('_', ' ')} {target.value:g} is out of reach: the points of {policy} go from "
            f"{wanted.min():.4g} to {wanted.max():.4g}; run trim eval with other --parameters"
        )
    rng = np.random.default_rng(0)
    drawn = [table.parameter(target, chosen) for chosen in resamples(table.questions, _DRAWS, rng)]
    parameter = from_resamples(table.parameter(target, all_questions), drawn, table.questions)
    figures = {
        kind: table.at(parameter.value, table.figure(kind, all_questions)) for kind in ("accuracy", "tokens", "cost")
    }
    share, cost = figures["tokens"] / table.full if table.full else None, figures["cost"]
    return Calibration(
        policy=policy,
        target=target,
        parameter=parameter,
        expected=Figures(figures["accuracy"], figures["tokens"], share, None if isnan(cost) else cost),
        held_out=_check(table, target, rng),
    )


def _check(table: _Table, target: Target, rng: np.random.Generator) -> HeldOut:
    order = rng.permutation(table.questions)
    first, second = order[: table.questions // 2], order[table.questions // 2 :]
    parameter = table.parameter(target, first)

    def realised(chosen: Indices) -> float:
        return table.at(parameter, table.figure(target.kind, second[chosen]))

    drawn = [realised(chosen) for chosen in resamples(len(second), _DRAWS, rng)]
    return HeldOut(parameter, from_resamples(realised(np.arange(len(second))), drawn, len(second)))


@dataclass(frozen=True, eq=False)
class _Table:
    """P points in order of cost, Q questions that all points answered. Arrays (P,), then (P, Q); `strong` (Q,)."""

    parameters: FloatArray
    right: FloatArray
    tokens: FloatArray
    costs: FloatArray
    strong: FloatArray | None  # tokens of the strong model alone
    logarithmic: bool

    @classmethod
    def of(cls, tallies: Tallies, policy: str, kind: Kind) -> _Table:
        family = known(policy)
        described = family.parameter if family is not None else None  # of one of the user's own nothing is known
        logarithmic = described is not None and described.falling
        points = {
            parameter: tally
            for (name, parameter), tally in tallies.items()
            if name == policy and parameter is not None and (parameter > 0 or not logarithmic)
        }
        ends: dict[float | None, tuple[str, None]] = {}
        if described is not None:
            ends = {described.weak_end: ("always-weak", None), described.strong_end: ("always-strong", None)}
        points = {
            parameter: tallies[end] for parameter, end in ends.items() if parameter is not None and end in tallies
        } | points
        if len(points) < 2:
            raise ConfigError(f"the traces have {len(points)} points of {policy}, at least two are needed: trim eval")
        strong = tallies.get(("always-strong", None))
        if kind == "strong_share" and strong is None:
            raise ConfigError(
                "a strong share needs always-strong in the traces: trim eval --policies always-strong,..."
            )
        compared = [*points.values(), *([strong] if strong else [])]
        try:
            chosen = common_questions(compared)
        except ValueError:
            chosen = ()
        if len(chosen) < _FEWEST:
            raise ConfigError(f"{len(chosen)} questions were answered at every point, at least {_FEWEST} are needed")
        order = sorted(points, reverse=logarithmic)
        right, tokens, costs = np.moveaxis(question_means([points[parameter] for parameter in order], chosen), 1, 0)
        alone = question_means([strong], chosen)[0, 1] if strong else None
        return cls(np.array(order), right, tokens, costs, strong=alone, logarithmic=logarithmic)

    @property
    def questions(self) -> int:
        return len(self.right[0])

    @property
    def full(self) -> float | None:
        """Mean tokens of the strong model alone."""
        return None if self.strong is None else float(self.strong.mean())

    def figure(self, kind: str, chosen: Indices) -> FloatArray:
        """A mean over some questions at every point, shape (P,)."""
        if kind == "strong_share":
            assert self.strong is not None
            return np.asarray(self.tokens[:, chosen].mean(axis=1) / self.strong[chosen].mean())
        table = {"accuracy": self.right, "tokens": self.tokens, "cost": self.costs}[kind]
        return np.asarray(table[:, chosen].mean(axis=1))

    def parameter(self, target: Target, chosen: Indices) -> float:
        """The first parameter from the cheap end that reaches the target on these questions; an end where none does."""
        reached = np.maximum.accumulate(self.figure(target.kind, chosen))
        after = int(np.searchsorted(reached, target.value))
        if after in (0, len(reached)):
            return float(self.parameters[min(after, len(reached) - 1)])
        share = (target.value - reached[after - 1]) / (reached[after] - reached[after - 1])
        return float(self._back(np.interp(share, (0, 1), self._scale(self.parameters[after - 1 : after + 1]))))

    def at(self, parameter: float, values: FloatArray) -> float:
        """Interpolate a figure at a parameter."""
        scale, x = self._scale(self.parameters), self._scale(np.array([parameter]))
        step = -1 if self.logarithmic else 1
        return float(np.interp(x, scale[::step], values[::step])[0])

    def _scale(self, parameters: FloatArray) -> FloatArray:
        return np.log(parameters) if self.logarithmic else parameters

    def _back(self, x: float) -> float:
        return float(np.exp(x)) if self.logarithmic else x
