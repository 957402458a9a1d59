"""The policies that a configuration and a command line name, opened for the configured models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.config.judges import judge_for, score_at
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.policies import registry
from trim.policies.spec import PolicySpec
from trim.protocols import Policy
from trim.types import Role

if TYPE_CHECKING:
    from trim.config.settings import Config, PrmSettings
    from trim.policies.artifacts import Models


_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
"""Of the steps that a fitted judge's file is about, below the thresholds that an evaluation tries."""


@dataclass(frozen=True)
class PolicyChoice:
    """What was asked for, the folder of a saved policy included; no parameter: its default."""

    spec: PolicySpec
    parameter: float | None = None


def calibrated(config: Config) -> Config:
    """The same with the policy that a file of `trim calibrate` holds, where `[policy] name` is such a file.

    Raises:
        ConfigError: unreadable, or calibrated on other models.
    """
    if not config.policy.name.endswith(".json"):
        return config
    from trim.policies.artifacts import CalibratedPolicy, Models

    found = CalibratedPolicy.load(Path(config.policy.name), Models(**identities(config)))
    policy = replace(config.policy, name=found.name, parameter=found.parameter, path=found.folder)
    return replace(config, policy=policy)


def choose(config: Config, name: str | None = None, parameter: float | None = None) -> PolicyChoice:
    """The configured policy, or another one by name; the parameter and the folder are `[policy]`'s where they fit.

    Args:
        config: `[policy]` and the models.
        name: `trim.policies.spec` says how it is written, or a `FILE.json` that `trim calibrate` wrote; None: the
            configured one.
        parameter: in place of the configured one.

    Raises:
        ConfigError: a calibration that cannot be read, is for other models, or was given a parameter.
    """
    own = _configured(config)
    if name is None:
        return own if parameter is None else replace(own, parameter=parameter)
    if name.endswith(".json"):
        if parameter is not None:
            raise ConfigError(f"policy {name} says its parameter itself; leave it out")
        return _configured(replace(config, policy=replace(config.policy, name=name, parameter=None, path="")))
    spec = PolicySpec.parse(name)
    if spec.family == own.spec.family and not spec.folder:
        spec = replace(spec, folder=own.spec.folder)
    if parameter is None and spec == own.spec:
        parameter = own.parameter
    return PolicyChoice(spec, parameter)


def open_policy(config: Config, name: str | None = None, parameter: float | None = None) -> Policy:
    """The configured policy of steps, or another one; see `choose`.

    Raises:
        ConfigError: unknown, its parameter or an option is wrong, or it was saved for other models.
    """
    choice = choose(config, name, parameter)
    family = registry.FAMILIES.get(choice.spec.family)
    if family is not None:
        _check_judge(config, family)
    return _open(config, choice)


def default_parameter(config: Config, family: registry.PolicyFamily) -> float | None:
    """Where a family's parameter is a score, and the judge is a fitted one, what its scores suggest; None: nothing.

    Raises:
        ConfigError: the judge's file cannot be read.
    """
    share = None if family.parameter is None else family.parameter.share
    return None if share is None else score_at(config, share)


def strong_judge(config: Config) -> PrmSettings:
    """The strong model as a judge of drafts: asked for a grade, or, in this process, by the likelihood of a draft.

    Raises:
        ConfigError: the strong model is a class of the user's own.
    """
    from trim.config.settings import LISTED_BACKENDS, PrmSettings

    strong = config.strong
    if strong.backend not in LISTED_BACKENDS:
        raise ConfigError(f"[strong] backend {strong.backend} cannot be asked for grades: it is a class of your own")
    if strong.backend == "embedded":
        return PrmSettings("likelihood", strong.model or "strong")
    if not strong.base_url:  # a GGUF file has no address before it is opened
        return PrmSettings("grade", Role.STRONG.value, timeout=strong.timeout, retries=strong.retries)
    return PrmSettings(
        "grade", strong.model, strong.base_url, strong.api_key_env, timeout=strong.timeout, retries=strong.retries
    )


def _check_judge(config: Config, family: registry.PolicyFamily) -> None:
    """Raise where a family's scores are not those of the configured judge."""
    if registry.Need.STEP_LABELS in family.needs:
        raise ConfigError(f"policy {family.name} needs {registry.Need.STEP_LABELS}: it is there for trim eval alone")
    if registry.Need.STRONG_JUDGE not in family.needs:
        return
    meant, prm = strong_judge(config), judge_for(config)
    same = judge_for(replace(config, prm=meant))
    if (prm.backend, prm.model, prm.base_url) != (same.backend, same.model, same.base_url):
        address = f", base_url = {meant.base_url!r}" if meant.base_url else ""
        words = f"set [prm] backend = {meant.backend!r}, model = {meant.model!r}{address}"
        raise ConfigError(f"policy {family.name} needs {registry.Need.STRONG_JUDGE}: {words}, or use trim eval")


def open_sweep(config: Config, name: str, parameters: Sequence[float | None] | None = None) -> list[Policy]:
    """A policy at each of these parameters; None: at those that an evaluation tries by default, of a calibrated one
    the parameter that was found.

    Raises:
        ConfigError: as for `open_policy`.
    """
    if name.endswith(".json"):
        return [_open(config, choose(config, name))]
    spec = choose(config, name).spec
    check_drafts(config, spec)
    return registry.open_sweep(spec, parameters or _sweep(config, spec), _models(config, spec))


def _sweep(config: Config, spec: PolicySpec) -> list[float | None] | None:
    """Scores of a fitted judge, for a family whose parameter is one; None: what the family has."""
    family = registry.FAMILIES.get(spec.family)
    if family is None or default_parameter(config, family) is None:
        return None
    found = {score_at(config, share) for share in _SHARES}
    return [*sorted(score for score in found if score is not None)]


def _open(config: Config, choice: PolicyChoice) -> Policy:
    check_drafts(config, choice.spec)
    family, parameter = registry.FAMILIES.get(choice.spec.family), choice.parameter
    if parameter is None and family is not None:
        parameter = default_parameter(config, family)
    return registry.open_policy(choice.spec, parameter, _models(config, choice.spec))


def _configured(config: Config) -> PolicyChoice:
    """What `[policy]` says, or the file of `trim calibrate` that it names. The folder is a saved policy's alone."""
    settings = calibrated(config).policy
    spec = PolicySpec.parse(settings.name)
    family = registry.FAMILIES.get(spec.family)
    if family is not None and family.saved and not spec.folder:
        spec = replace(spec, folder=settings.path)
    return PolicyChoice(spec, settings.parameter)


def _models(config: Config, spec: PolicySpec) -> Models | None:
    """Those that a saved policy must have been made for; their fingerprints take a moment."""
    family = registry.FAMILIES.get(spec.family)
    if family is None or not family.saved:
        return None
    from trim.policies.artifacts import Models

    return Models(**identities(config))


def check_drafts(config: Config, spec: PolicySpec) -> None:
    """Raise where a policy resamples more often than `[generation]` lets a step be drafted."""
    if spec.resamples >= config.generation.max_drafts:
        raise ConfigError(f"policy {spec.name!r} needs [generation] max_drafts of at least {spec.resamples + 1}")
