"""From a model's name and the `trim` object to a policy and a budget.

Clients may ask for the configured policy and for those of TRIM's table that need neither a folder nor a task. What they
write is looked up there and nowhere else: it never names code or a file.
"""

from __future__ import annotations

import difflib
import math
import re
from contextlib import suppress
from dataclasses import dataclass, replace

from trim import plugins
from trim.config.policy import check_drafts, choose, default_parameter, open_policy
from trim.config.resolution import resolve
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.off_loop import LARGE, off_loop
from trim.policies import FAMILIES, AlwaysStrong, AlwaysWeak, PolicySpec, registry
from trim.policies.artifacts import Models as ModelNames
from trim.policies.artifacts import saved_kind
from trim.policies.registry import Level, Need, PolicyFamily, SavedPolicy
from trim.protocols import Policy, Tunable
from trim.server.api_error import ApiError
from trim.server.budget_controller import TargetControllers
from trim.server.schemas import TrimOptions
from trim.types import Budget

_MODEL = re.compile(r"trim-(?P<policy>[a-z][a-z\d+_-]*?)(?:-(?:(?P<share>[\d.]+)%|(?P<parameter>[\d.]+(?:e-?\d+)?)))?")
_MOST_UNUSABLE = 100  # policies that cannot be opened, which are remembered
_SHORT = {"weak": AlwaysWeak.name, "strong": AlwaysStrong.name}


@dataclass(frozen=True)
class Choice:
    """How a request is routed. `target`: the policy follows this target share, or (None) the target spend."""

    policy: Policy
    budget: Budget
    target: tuple[str, float | None] | None = None


@dataclass(frozen=True)
class _Asked:
    """What a model's name or the `trim` object asks for."""

    spec: PolicySpec
    parameter: float | None = None
    share: float | None = None  # the target to follow
    spend: bool = False  # follows the target spend


class Models:
    """The models that the gateway offers.

    Args:
        config: the configured policy and budget.
        controllers: follow target shares and spend.

    Raises:
        ConfigError: the configured policy cannot be opened, or cannot follow a target.
    """

    def __init__(self, config: Config, controllers: TargetControllers) -> None:
        self._config = config
        self._controllers = controllers
        self._spec = choose(config).spec
        self._configured = open_policy(config)
        self._defaults = {family.name: default_parameter(config, family) for family in FAMILIES.values()}
        self._folders: dict[str, str] = {}  # of saved policies, by family; empty: the shipped one
        self._unusable: dict[PolicySpec, ConfigError] = {}  # those that cannot be opened
        self._saved = self._load()
        for family in FAMILIES.values():
            if self._is_served(PolicySpec(family.name)):
                plugins.attribute(family.opener, "policy")  # imported now, not while requests wait
        asked = self._asked("trim")
        if asked.spend or asked.share is not None:
            controllers.get(self._build(asked), asked.share)

    def names(self) -> list[str]:
        """Names that are listed; parameters and shares other than these are understood too."""
        names = ["trim", *(f"trim-{short}" for short in _SHORT)]
        for family in FAMILIES.values():
            if family.name in _SHORT.values() or not self._is_served(PolicySpec(family.name)):
                continue
            default = self._defaults.get(family.name)
            if default is None and family.parameter is not None:
                default = family.parameter.default
            names.append(f"trim-{family.name}" + ("" if default is None else f"-{default:g}"))
            if family.tunable:
                names.append(f"trim-{family.name}-20%")
        return names

    def choose(self, model: str, options: TrimOptions | None = None) -> Choice:
        """The policy and budget of a request.

        Raises:
            ApiError: no such model (404), or a value that cannot be (400).
        """
        options = options or TrimOptions()
        asked = self._wanted(model, options)
        limits = self._config.budget
        tokens = [cap for cap in (options.max_strong_tokens, limits.max_strong_tokens) if cap is not None]
        costs = [cap for cap in (options.max_cost, limits.max_cost) if cap is not None]
        budget = Budget(min(tokens, default=None), min(costs, default=None))
        if costs and (missing := resolve(self._config).prices.missing):
            words = f"trim.max_cost: the gateway does not know every price ({missing[0]} is not set)"
            raise ApiError(400, words, "invalid_value", "trim.max_cost")
        where = "model" if model != "trim" else "trim"
        try:
            policy = self._build(asked)
            if asked.share is None and not asked.spend:
                return Choice(policy, budget)
            return Choice(self._controllers.get(policy, asked.share).policy(), budget, (policy.name, asked.share))
        except ConfigError as error:
            field = "price" if options.price is not None else "parameter" if options.parameter is not None else "policy"
            written = model[:100] if model != "trim" else f"trim.{field}"
            raise ApiError(400, f"{written}: {error}", "invalid_value", where) from None

    async def read(self, model: str, options: TrimOptions | None = None) -> None:
        """Read the files of the policy that is asked for, unless that was done: `choose` then reads none. What is not
        valid is left for it to say.
        """
        with suppress(ApiError, ConfigError):
            spec = self._wanted(model, options or TrimOptions()).spec
            known = self._is_configured(spec) or spec.unordered in self._saved.keys() | self._unusable.keys()
            if not known and spec.family in self._folders:
                await off_loop(LARGE, self._open_saved, spec)

    def _wanted(self, model: str, options: TrimOptions) -> _Asked:
        asked = self._asked(model)
        chosen = (options.policy, options.parameter, options.price, options.strong_share)
        return self._asked_by(model, options) if any(value is not None for value in chosen) else asked

    def _load(self) -> dict[PolicySpec, SavedPolicy]:
        """Saved policies without options: that which `[policy] path` names, and those shipped for these models."""
        models, own = ModelNames(**identities(self._config)), FAMILIES.get(self._spec.family)
        # Those with options are opened when they are asked for, from the same folders.
        path = "" if own is not None and own.saved else self._config.policy.path
        beside = saved_kind(path) if path else ""
        found: dict[PolicySpec, SavedPolicy] = {}
        for family in FAMILIES.values():
            if not family.saved or not family.routes_anywhere:
                continue
            folder = self._spec.folder if family is own else path if family.name == beside else ""
            try:
                spec = PolicySpec(family.name, folder=folder)
                found[PolicySpec(family.name)] = registry.open_saved(spec, models)
                self._folders[family.name] = folder
            except ConfigError:
                if folder:
                    raise
                continue  # the shipped one was made for other models than these
        return found

    def _is_configured(self, spec: PolicySpec) -> bool:
        """Whether this is the configured policy."""
        same = spec.unordered == self._spec.unordered or spec.name == self._configured.name
        return not spec.folder and same

    def _is_served(self, spec: PolicySpec) -> bool:
        return self._is_configured(spec) or (
            spec.family in FAMILIES and not spec.folder and not self._obstacle(FAMILIES[spec.family])
        )

    def _obstacle(self, family: PolicyFamily) -> str:
        """Why no request can be routed by a family; empty: it can."""
        if family.level is Level.QUERY:
            return "it chooses a model for whole questions, not for steps"
        if missing := family.needs & {Need.STRONG_JUDGE, Need.STEP_LABELS}:
            return f"it needs {' and '.join(sorted(missing))}"
        if family.saved and PolicySpec(family.name) not in self._saved:
            return "the shipped one was made for other models or another judge than these"
        return ""

    def _build(self, asked: _Asked) -> Policy:
        spec, parameter = asked.spec, asked.parameter
        if self._is_configured(spec):
            if parameter is None:
                return self._configured
            registry.check(self._spec, parameter)
            if isinstance(self._configured, Tunable):
                return self._configured.at(parameter)
            return registry.open_policy(self._spec, parameter)
        check_drafts(self._config, spec)
        if spec.family in self._folders:
            saved = self._open_saved(spec)
            return saved if parameter is None else saved.at(parameter)
        return registry.open_policy(spec, self._defaults.get(spec.family) if parameter is None else parameter)

    def _open_saved(self, spec: PolicySpec) -> SavedPolicy:
        """A saved policy with these options, which is read once."""
        key = spec.unordered
        if key in self._unusable:
            raise self._unusable[key]
        if key not in self._saved:
            try:
                FAMILIES[spec.family].check(spec)
                self._saved[key] = registry.open_saved(replace(key, folder=self._folders[spec.family]))
            except ConfigError as error:
                if len(self._unusable) < _MOST_UNUSABLE:
                    self._unusable[key] = error
                raise
        return self._saved[key]

    def _asked(self, model: str) -> _Asked:
        """What a model's name asks for."""
        if model == "trim":
            serve = self._config.serve
            name = PolicySpec(self._configured.name)
            return _Asked(name, share=serve.target_strong_share, spend=bool(serve.spend_targets()))
        match = _MODEL.fullmatch(model)
        spec = PolicySpec.parse(_SHORT.get(match["policy"], match["policy"])) if match else PolicySpec("")
        if match is None or not self._is_served(spec):
            raise ApiError(404, self._unknown(model[:100], spec), "model_not_found", "model")
        try:
            share, parameter = (float(match[key]) if match[key] else None for key in ("share", "parameter"))
        except ValueError:
            raise ApiError(400, f"{model[:100]!r} has no number at its end", "invalid_value", "model") from None
        if parameter == math.inf:
            raise ApiError(400, f"{model[:100]!r}: the number is too large", "invalid_value", "model")
        if share is not None and share > 100:
            raise ApiError(400, "a strong share is at most 100%", "invalid_value", "model")
        return _Asked(spec, parameter, None if share is None else share / 100)

    def _unknown(self, model: str, spec: PolicySpec) -> str:
        """What to say of a model that is not served."""
        if spec.family in FAMILIES:
            return f"the model {model!r} is not served here: {self._obstacle(FAMILIES[spec.family])}"
        names = self.names()
        near = difflib.get_close_matches(model, names, 1)
        hint = f"did you mean {near[0]!r}? There are" if near else "there are"
        return f"the model {model!r} does not exist; {hint} {', '.join(names)}"

    def _asked_by(self, model: str, options: TrimOptions) -> _Asked:
        """What the `trim` object asks for."""
        if model != "trim":
            raise ApiError(400, f"{model} and the trim object both choose a policy; use the model 'trim'", None, "trim")
        spec = PolicySpec(self._configured.name)
        if options.policy is not None:
            spec = PolicySpec.parse(options.policy)
            if not self._is_served(spec):
                why = self._obstacle(FAMILIES[spec.family]) if spec.family in FAMILIES and not spec.folder else ""
                words = f"the policy {options.policy[:100]!r} is not served here" + (why and f": {why}")
                raise ApiError(400, words, "invalid_value", "trim.policy")
        elif options.price is not None and not self._has_price(spec) and self._saved:
            spec = next(iter(self._saved))
        values = {"parameter": options.parameter, "price": options.price, "strong_share": options.strong_share}
        given = [name for name, value in values.items() if value is not None]
        if len(given) > 1:
            raise ApiError(400, f"{' and '.join(given)}: give one of them", "invalid_value", f"trim.{given[1]}")
        if options.price is not None and not self._has_price(spec):
            raise ApiError(400, f"the policy {spec.name} has no price", "invalid_value", "trim.price")
        parameter = options.price if options.parameter is None else options.parameter
        return _Asked(spec, parameter, options.strong_share)

    def _has_price(self, spec: PolicySpec) -> bool:
        family = FAMILIES.get(self._spec.family if self._is_configured(spec) else spec.family)
        return family is not None and family.parameter is not None and family.parameter.name == "price"
