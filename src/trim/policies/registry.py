"""The table of policy families. Command line, configuration, gateway, reports and calibration all read it.

A new family is a class in a file and a row here. `opener` names what opens it, so that reading the table imports none
of them:

- a policy without a folder: a class or function that takes the parameter, if there is one; with `options` it takes
  `resamples`, `name` and `max_revisions` by keyword too;
- a policy that is read from a folder: a function of (folder, `PolicySpec`, models), see `SavedPolicy`;
- a method for whole questions: a function of (`trim.baselines.query_level.solvers.WholeSolutions`, `PolicySpec`) that
  gives a function from the parameter to a `Solver`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from trim import plugins
from trim.errors import ConfigError
from trim.policies.spec import REVISE, PolicySpec
from trim.protocols import Policy, Tunable

if TYPE_CHECKING:
    from trim.policies.artifacts import Models

INFINITE = float("inf")

FLAGGED = 0.2
"""Share of steps below the default threshold of a judge whose file says how its scores lie."""


class Level(StrEnum):
    """What a decision is about."""

    STEP = "step"
    QUERY = "query"  # a model for a whole question


class Need(StrEnum):
    """What a family needs beside the two models."""

    SCORES = "scores of the configured judge"
    STRONG_JUDGE = "scores of the strong model as a judge"
    STEP_LABELS = "a task whose steps can be checked by rule"
    TOKEN_PROBABILITIES = "token probabilities of the weak model"  # noqa: S105  # not a password
    SHIPPED = "a saved policy; one comes with the embedded models"
    FOLDER = "a saved policy"
    OUTCOMES = "recorded outcomes of both models to be trained on"


@dataclass(frozen=True)
class Parameter:
    """The one number of a family.

    Args:
        name, meaning: what it is called and what it does; empty: a policy of the user's own does not say.
        low, high: its range, both included.
        default: where none is given; None: there is no default, or the saved policy has it.
        sweep: what an evaluation tries; empty: the saved policy says.
        falling: a larger one spends less. Such parameters are compared on a logarithmic scale, and 0 is the limit.
        share: where the parameter is a score and the judge's file says how its scores lie, the default is the score
            that this share of steps is below.
        weak_end, strong_end: where the family does what always-weak and always-strong do; None: nowhere.
    """

    name: str
    meaning: str
    low: float
    high: float
    default: float | None = None
    sweep: tuple[float, ...] = ()
    falling: bool = False
    weak_end: float | None = None
    strong_end: float | None = None
    share: float | None = None

    def check(self, policy: str, value: float) -> None:
        """Raise for a value out of range.

        Raises:
            ConfigError: says the range.
        """
        if not self.low <= value <= self.high:
            limits = f"lie in [{self.low:g}, {self.high:g}]" if self.high < INFINITE else f"be {self.low:g} or more"
            named = f" {self.name} ({self.meaning})" if self.name else ""
            raise ConfigError(f"policy {policy}: the parameter{named} must {limits}, not {value:g}")


@dataclass(frozen=True)
class PolicyFamily:
    """A row of the table.

    Args:
        name: on command lines and in results.
        summary: in a few words.
        opener: what opens it, see the top of this file.
        parameter: its one number; None: it has none.
        needs: beside the two models.
        options: after plus signs; `N` stands for a number of resamples.
        level: what it decides about.
        baseline: a method of others (or a bound) that TRIM's own policies are compared with.
        written_by: the command that saves one.
        learner: the class that the command trains, where it trains several.
    """

    name: str
    summary: str
    opener: str
    parameter: Parameter | None = None
    needs: frozenset[Need] = field(default=frozenset())
    options: tuple[str, ...] = ()
    level: Level = Level.STEP
    baseline: bool = False
    written_by: str = ""
    learner: str = ""

    @property
    def saved(self) -> bool:
        """Whether it is read from a folder."""
        return bool(self.needs & {Need.FOLDER, Need.SHIPPED})

    @property
    def tunable(self) -> bool:
        """Whether a target share or spend can be held with its parameter, and `trim calibrate` finds one for it."""
        return self.level is Level.STEP and self.parameter is not None

    @property
    def routes_anywhere(self) -> bool:
        """Whether any pair of models with a judge can be routed by it, without a folder of one's own or a task."""
        elsewhere = {Need.FOLDER, Need.STRONG_JUDGE, Need.STEP_LABELS}
        return self.level is Level.STEP and not self.needs & elsewhere

    @property
    def sweep(self) -> tuple[float | None, ...]:
        """Parameters that an evaluation tries; None alone: there is no parameter, or the saved policy says."""
        return self.parameter.sweep if self.parameter is not None and self.parameter.sweep else (None,)

    def check(self, spec: PolicySpec, parameter: float | None = None) -> None:
        """Check what was asked for against the row. Reads no file.

        Raises:
            ConfigError: an option, a folder or a parameter that this family does not have.
        """
        if spec.resamples and "N" not in self.options:
            raise ConfigError(f"policy {spec.name!r}: {self.name} has no resamples")
        if unknown := [option for option in spec.options if option not in self.options or option == "N"]:
            known = ", ".join(f"+{option}" for option in self.options)
            there = f"it has {known} (N: a number of resamples)" if known else "it has none"
            raise ConfigError(f"policy {spec.name!r}: {self.name} has no option {', '.join(unknown)}; {there}")
        if spec.folder and not self.saved:
            raise ConfigError(f"policy {self.name} is not read from a folder: leave out ={spec.folder}")
        if parameter is None:
            return
        if self.parameter is None:
            raise ConfigError(f"policy {self.name} has no parameter")
        self.parameter.check(spec.name, parameter)


class SavedPolicy(Tunable, Protocol):
    """A policy that was read from a folder; one of them stands for all its prices."""

    def prices(self) -> tuple[float, ...]:
        """Those that an evaluation tries, high to low."""
        ...

    def at(self, parameter: float) -> SavedPolicy:
        """The same policy for another price."""
        ...


@runtime_checkable
class Swept(Protocol):
    """What the class of a policy of your own may say: the parameters that an evaluation tries."""

    sweep: Sequence[float]


@runtime_checkable
class Ranged(Protocol):
    """What the class of a policy of your own may say: the lowest and the highest parameter."""

    parameter_range: tuple[float, float]


_INNER = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SCORES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85)  # finer near 1 below, where most scores lie
_CONFIDENCES = (0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.985, 0.995, 0.998, 0.9995)
_ENTROPIES = (0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0)
_PRICES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)

_RATE = Parameter("rate", "share of steps that are rewritten", 0, 1, 0.5, _INNER, weak_end=0, strong_end=1)
_K = Parameter("k", "lowest score that is kept", 0, 1, weak_end=0)
_THRESHOLD = replace(_K, default=0.5, share=FLAGGED, sweep=(*_SCORES, 0.9, 0.93, 0.95, 0.97), strong_end=1)
_TAKE_OVER = replace(_K, default=0.65, share=0.05, sweep=(*_SCORES, 0.93, 0.97))
_LOWEST = replace(_K, meaning="smallest of the steps' scores that is accepted", sweep=(*_SCORES, 0.93, 0.97, 0.99, 1.0))
_DELTA = Parameter(
    "delta", "lowest reward that is accepted", 0, 1, 0.7, (0.7,), weak_end=0, strong_end=1, share=FLAGGED
)
_GRADE = Parameter("grade", "lowest grade of 0 to 9 that is accepted", 0, 9, 6, (1, 3, 5, 6, 7, 8, 9), weak_end=0)
_ENTROPY = Parameter("entropy", "largest one that is accepted, in nats", 0, INFINITE, 0.02, _ENTROPIES, falling=True)
_CONFIDENCE = Parameter(
    "confidence", "smallest mean token probability that is accepted", 0, 1, 0.95, _CONFIDENCES, weak_end=0
)
_PRICE = Parameter("price", "of a strong token, in correct answers", 0, INFINITE, falling=True)
_ANSWER_PRICE = replace(_PRICE, meaning="of a strong answer, in correct answers", sweep=_PRICES)
_VOTES = Parameter("share", "of the votes that are needed", 0, 1, sweep=(0.25, 0.5, 0.75, 1.0), weak_end=0)
_RATES = (0.05, *_INNER, 0.95, 1.0)
_SHARE = replace(_RATE, meaning="share of questions for the strong model", default=None, sweep=_RATES)
_INDEX = Parameter("index", "of the sample", 1, 1_000, sweep=(1, 2, 3, 4))

_SCORED = frozenset({Need.SCORES})
_SHIPPED = frozenset({Need.SCORES, Need.SHIPPED})
_TOKENS = frozenset({Need.TOKEN_PROBABILITIES})
_TRAINED = frozenset({Need.FOLDER, Need.OUTCOMES})
_FIT_ROUTER = "trim fit router"


def _step(
    name: str, summary: str, opener: str, parameter: Parameter | None = None, needs: frozenset[Need] = frozenset()
) -> PolicyFamily:
    """A baseline that decides about steps; `opener` is in `trim.baselines.step_level`."""
    return PolicyFamily(name, summary, f"trim.baselines.step_level.{opener}", parameter, needs, baseline=True)


def _query(
    name: str, summary: str, opener: str, parameter: Parameter | None = None, needs: frozenset[Need] = frozenset()
) -> PolicyFamily:
    """A baseline that chooses a model for a whole question; `opener` is in `trim.baselines.query_level`."""
    row = PolicyFamily(name, summary, f"trim.baselines.query_level.{opener}", parameter, needs, (), Level.QUERY, True)
    return replace(row, written_by=_FIT_ROUTER) if needs == _TRAINED else row


def _router(name: str, summary: str, learner: str) -> PolicyFamily:
    """A router that `trim fit router` trains; `learner` is in `trim.baselines.query_level`."""
    row = _query(name, summary, "trained_router:trained_query", _SHARE, _TRAINED)
    return replace(row, learner=f"trim.baselines.query_level.{learner}")


def _learned(name: str, summary: str) -> PolicyFamily:
    opener = "trim.policies.learned.policy:open_saved"
    return PolicyFamily(name, summary, opener, _PRICE, _SHIPPED, written_by="trim train")


_TABLE = (
    PolicyFamily("always-weak", "the weak model alone", "trim.policies.fixed:AlwaysWeak"),
    PolicyFamily("always-strong", "the strong model alone", "trim.policies.fixed:AlwaysStrong"),
    PolicyFamily(
        "random",
        "rewrites steps at random, whatever they say",
        "trim.policies.fixed:RandomSteps",
        _RATE,
        options=("N", REVISE),
    ),
    PolicyFamily(
        "threshold",
        "rewrites steps with a score below a constant",
        "trim.policies.threshold:Threshold",
        _THRESHOLD,
        _SCORED,
        ("N", REVISE),
    ),
    PolicyFamily(
        "pomdp",
        "plans by its belief about the solution",
        "trim.policies.pomdp:open_saved",
        _PRICE,
        _SHIPPED,
        ("N", REVISE, "snapshot", "takeover"),
        written_by="trim fit pomdp",
    ),
    _learned("agg", "a network that reads a few figures"),
    _learned("seq", "a network that reads the scores of all steps"),
    PolicyFamily(
        "oracle",
        "rewrites the wrong steps and no others",
        "trim.policies.threshold:oracle",
        needs=frozenset({Need.STEP_LABELS}),
        baseline=True,
    ),
    _step("rsd", "reward-guided speculative decoding, its binary rule", "rsd:rsd", _DELTA, _SCORED),
    _step("rsd-clipped", "the same, accepting with the reward as probability", "rsd:RsdClipped", needs=_SCORED),
    _step(
        "spec-reason",
        "SpecReason: the strong model grades each draft",
        "spec_reason:SpecReason",
        _GRADE,
        frozenset({Need.STRONG_JUDGE}),
    ),
    _step(
        "glimp-router",
        "GlimpRouter: the entropy of a draft's first token",
        "glimp_router:GlimpRouter",
        _ENTROPY,
        _TOKENS,
    ),
    _step(
        "confidence",
        "the weak model's confidence in its tokens, after STEER",
        "confidence:Confidence",
        _CONFIDENCE,
        _TOKENS,
    ),
    _step(
        "take-over",
        "from the first low score on the strong model writes everything",
        "take_over:TakeOver",
        _TAKE_OVER,
        _SCORED,
    ),
    _query("random-query", "a model for each question at random", "solvers:random_query", _SHARE),
    _query("oracle-query", "the strong model exactly where it alone is right", "solvers:oracle_query"),
    _query(
        "prm-cascade", "keeps a weak answer whose lowest score is high enough", "cascade:prm_cascade", _LOWEST, _SCORED
    ),
    _query("automix", "AutoMix: keeps a weak answer that enough votes are for", "cascade:automix", _VOTES),
    _query("automix-pomdp", "AutoMix with its meta-verifier", "meta_verifier:automix_pomdp", _ANSWER_PRICE, _TRAINED),
    _router("similarity", "RouteLLM's similarity-weighted ranking", "similarity_ranking:SimilarityRanking"),
    _router("factorisation", "RouteLLM's matrix factorisation", "matrix_factorization:MatrixFactorisation"),
    _router("classifier", "RouteLLM's text classifier", "text_classifier:TextClassifier"),
    _router("smoothie", "Smoothie: distances between answers", "smoothie:Smoothie"),
    PolicyFamily(
        "weak-sample",
        "a further sample of the weak model, to train routers on",
        "trim.baselines.query_level.solvers:weak_sample",
        _INDEX,
        level=Level.QUERY,
    ),
)

FAMILIES: Mapping[str, PolicyFamily] = {family.name: family for family in _TABLE}
"""All families by name."""


def groups() -> dict[str, tuple[str, ...]]:
    """The names for people, by what they are."""

    def chosen(test: Callable[[PolicyFamily], bool]) -> tuple[str, ...]:
        return tuple(family.name for family in _TABLE if test(family))

    return {
        "policies": chosen(lambda f: f.level is Level.STEP and not f.baseline and not f.saved),
        "saved policies (=FOLDER, else the shipped one)": chosen(lambda f: Need.SHIPPED in f.needs),
        "step-level baselines": chosen(lambda f: f.level is Level.STEP and f.baseline),
        "query-level baselines": chosen(lambda f: f.level is Level.QUERY and f.baseline and not f.saved),
        "trained query-level baselines (=FOLDER)": chosen(lambda f: f.level is Level.QUERY and f.saved),
        "for training": chosen(lambda f: f.level is Level.QUERY and not f.baseline),
    }


def listing(choose: Callable[[PolicyFamily], bool] = lambda family: True) -> str:
    """The names for a help text, by group, those that are chosen."""
    chosen = {title: [name for name in names if choose(FAMILIES[name])] for title, names in groups().items()}
    return "; ".join(f"{title}: {', '.join(names)}" for title, names in chosen.items() if names)


def saved_by(command: str) -> tuple[str, ...]:
    """The names of the families that a command saves."""
    return tuple(family.name for family in _TABLE if family.written_by == command)


def known(name: str) -> PolicyFamily | None:
    """The row of a policy by its name in results, such as `threshold+2`; None: a policy of the user's own."""
    return FAMILIES.get(PolicySpec.parse(name).family)


def family_of(spec: PolicySpec) -> PolicyFamily:
    """The row of what was asked for; one is made for a policy of the user's own. Runs the code that it names.

    Raises:
        ConfigError: unknown; says what is near, and all that there are.
    """
    if spec.family in FAMILIES:
        return FAMILIES[spec.family]
    found = plugins.POLICIES.load(spec.family)
    if found is None:
        raise plugins.POLICIES.unknown(spec.family, groups() | {"entry points": plugins.POLICIES.names()})
    low, high = found.parameter_range if isinstance(found, Ranged) else (-INFINITE, INFINITE)
    sweep = tuple(found.sweep) if isinstance(found, Swept) else ()
    parameter = Parameter("", "", low, high, sweep=sweep)
    return PolicyFamily(spec.family, "a policy of your own", spec.family, parameter)


def check(spec: PolicySpec, parameter: float | None = None) -> None:
    """Check what was asked for without opening it: no file is read and no code of the user's runs.

    Raises:
        ConfigError: an unknown family, or one that does not have this option, folder or parameter.
    """
    family = FAMILIES.get(spec.family)
    if family is not None:
        family.check(spec, parameter)
    elif not plugins.is_reference(spec.family) and spec.family not in plugins.POLICIES.names():
        family_of(spec)  # raises


def open_policy(spec: PolicySpec, parameter: float | None = None, models: Models | None = None) -> Policy:
    """A policy of steps.

    Args:
        spec: what was asked for.
        parameter: None: the family's default, or what a saved policy was saved with.
        models: that a saved policy must have been made for; None: unchecked.

    Raises:
        ConfigError: unknown, no policy of steps, it lacks a parameter, or was saved for other models.
    """
    family = family_of(spec)
    family.check(spec, parameter)
    if family.level is Level.QUERY:
        raise ConfigError(f"policy {family.name} chooses a model for whole questions: it is there for trim eval alone")
    if family.name not in FAMILIES:
        return _own(family, parameter)
    if family.saved:
        saved = open_saved(spec, models)
        return saved if parameter is None else saved.at(parameter)
    make = cast("Callable[..., Policy]", plugins.attribute(family.opener, "policy"))
    arguments = () if family.parameter is None else (family.parameter.default if parameter is None else parameter,)
    if family.options:
        return make(*arguments, resamples=spec.resamples, name=spec.name, max_revisions=spec.max_revisions)
    return make(*arguments)


def open_saved(spec: PolicySpec, models: Models | None = None) -> SavedPolicy:
    """A saved policy of steps at the price that it was saved with.

    Raises:
        ConfigError: there is none in the folder, or it was made for other models.
    """
    family = FAMILIES[spec.family]
    family.check(spec)
    load = cast("Callable[[Path, PolicySpec, Models | None], SavedPolicy]", plugins.attribute(family.opener, "policy"))
    return load(folder_of(spec), spec, models)


def open_sweep(
    spec: PolicySpec, parameters: Sequence[float | None] | None = None, models: Models | None = None
) -> list[Policy]:
    """A policy of steps at each of these parameters; None: at those that an evaluation tries by default.

    Raises:
        ConfigError: as for `open_policy`.
    """
    family = family_of(spec)
    if family.saved and family.level is Level.STEP:
        saved = open_saved(spec, models)
        return [saved if price is None else saved.at(price) for price in parameters or saved.prices()]
    return [open_policy(spec, parameter, models) for parameter in parameters or family.sweep]


def folder_of(spec: PolicySpec) -> Path:
    """Where a saved policy lies: the folder given, or the one that comes with the embedded models.

    Raises:
        ConfigError: none is given and none is shipped.
    """
    family = FAMILIES[spec.family]
    if spec.folder:
        return Path(spec.folder).expanduser()
    if Need.SHIPPED not in family.needs:
        command = family.written_by + (f" {spec.family}" if family.written_by == _FIT_ROUTER else "")
        raise ConfigError(f"policy {spec.family} needs the folder that `{command}` wrote: {spec.family}=FOLDER")
    from importlib.resources import files

    return Path(str(files("trim") / "embedded" / spec.family))


def _own(family: PolicyFamily, parameter: float | None) -> Policy:
    """A policy of the user's own: its class gets the parameter, if one is given."""
    what = f"policy {family.name}"
    made = plugins.POLICIES.make(family.name, *(() if parameter is None else (parameter,)))
    plugins.require_members(made, Policy, what)
    policy = cast("Policy", made)
    if parameter is not None and policy.parameter != parameter:
        raise ConfigError(f"{what} was made with the parameter {parameter:g} and says that it has {policy.parameter}")
    if known(policy.name) is not None:
        raise ConfigError(f"{what} calls itself {policy.name!r}, which is a policy of TRIM: give it another name")
    return policy
