"""From a model's name and the `trim` object to a policy and a budget."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from trim.config.settings import Config
from trim.errors import ConfigError
from trim.policies import SAVED, PolicySpec
from trim.policies.learned.policy import LearnedPolicy
from trim.policies.pomdp import PomdpPolicy
from trim.protocols import Policy
from trim.server.api_error import ApiError
from trim.server.budget_controller import TargetControllers
from trim.server.schemas import TrimOptions
from trim.types import Budget

_NAME = re.compile(r"trim-(random|threshold|pomdp)(?:-(?:(?P<share>[\d.]+)%|(?P<parameter>[\d.]+(?:e-?\d+)?)))?")
_ENDS = {"trim-weak": "always-weak", "trim-strong": "always-strong"}


@dataclass(frozen=True)
class Choice:
    """How a request is routed. `held` names the policy and the share, or (None) spend, that is held by adjusting it."""

    policy: Policy
    budget: Budget
    held: tuple[str, float | None] | None = None


@dataclass(frozen=True)
class _Wish:
    policy: str
    parameter: float | None = None
    share: float | None = None
    spend: bool = False  # is held


class Models:
    """The models that the gateway offers.

    Args:
        config: the configured policy and budget.
        controllers: hold strong shares and spend.

    Raises:
        ConfigError: the configured policy has no parameter to hold anything with.
    """

    def __init__(self, config: Config, controllers: TargetControllers) -> None:
        self._config = config
        self._controllers = controllers
        self._saved = self._load()
        if (wish := self._named("trim")).spend or wish.share is not None:
            controllers.get(self._build(wish), wish.share)

    def names(self) -> list[str]:
        """Names that are listed; parameters other than these are understood too."""
        names = ["trim", "trim-weak", "trim-strong", "trim-threshold-0.5", "trim-threshold-20%", "trim-random-20%"]
        return [*names, "trim-pomdp-20%"] if isinstance(self._saved, PomdpPolicy) else names

    def choose(self, model: str, options: TrimOptions | None = None) -> Choice:
        """The policy and budget of a request.

        Raises:
            ApiError: no such model (404), or a value that cannot be (400).
        """
        options = options or TrimOptions()
        wish = self._named(model)
        chosen = (options.policy, options.parameter, options.price, options.strong_share)
        if any(value is not None for value in chosen):
            wish = self._wished(model, options)
        limits = self._config.budget
        tokens = [cap for cap in (options.max_strong_tokens, limits.max_strong_tokens) if cap is not None]
        costs = [cap for cap in (options.max_cost, limits.max_cost) if cap is not None]
        budget = Budget(min(tokens, default=None), min(costs, default=None))
        where = "model" if model != "trim" else "trim"
        try:
            policy = self._build(wish)
            if wish.share is None and not wish.spend:
                return Choice(policy, budget)
            return Choice(self._controllers.get(policy, wish.share).policy(), budget, (policy.name, wish.share))
        except ConfigError as error:
            raise ApiError(400, str(error), "invalid_value", where) from None

    def _load(self) -> PomdpPolicy | LearnedPolicy | None:
        """The saved policy that is configured, or beside another one the pomdp that `[policy] path` names, or the one
        shipped for the shipped models.
        """
        settings = self._config.policy
        if _is_saved(settings.name):
            saved = self._config.build_policy(settings.name)
        elif settings.path:
            saved = self._config.build_policy(f"pomdp={settings.path}")
        else:
            try:
                saved = self._config.build_policy("pomdp")
            except ConfigError:  # made for other models than these
                return None
        return saved if isinstance(saved, PomdpPolicy | LearnedPolicy) else None

    def _build(self, wish: _Wish) -> Policy:
        if not _is_saved(wish.policy) or self._saved is None:
            return self._config.build_policy(wish.policy, wish.parameter)
        return self._saved if wish.parameter is None else self._saved.at(wish.parameter)

    def _named(self, model: str) -> _Wish:
        if model == "trim":
            serve = self._config.serve
            return _Wish(self._config.policy.name, share=serve.target_strong_share, spend=bool(serve.spend_targets()))
        if model in _ENDS:
            return _Wish(_ENDS[model])
        match = _NAME.fullmatch(model)
        if match is None or (match[1] == "pomdp" and not isinstance(self._saved, PomdpPolicy)):
            known = ", ".join(self.names())
            raise ApiError(
                404, f"the model {model[:100]!r} does not exist; there are {known}", "model_not_found", "model"
            )
        try:
            share, parameter = (float(match[key]) if match[key] else None for key in ("share", "parameter"))
        except ValueError:
            raise ApiError(400, f"{model[:100]!r} has no number at its end", "invalid_value", "model") from None
        if parameter == math.inf:
            raise ApiError(400, f"{model[:100]!r}: the number is too large", "invalid_value", "model")
        if share is not None and share > 100:
            raise ApiError(400, "a strong share is at most 100%", "invalid_value", "model")
        return _Wish(match[1], parameter, None if share is None else share / 100)

    def _wished(self, model: str, options: TrimOptions) -> _Wish:
        """What the `trim` object asks for."""
        if model != "trim":
            raise ApiError(400, f"{model} and the trim object both choose a policy; use the model 'trim'", None, "trim")
        policy = options.policy or self._config.policy.name
        if options.price is not None and options.policy is None and self._saved is not None:
            policy = self._saved.name
        saved = () if self._saved is None else (PolicySpec.parse(self._saved.name).family, self._saved.name)
        if "=" in policy or (_is_saved(policy) and policy not in saved):
            raise ApiError(400, f"the policy {policy[:100]!r} is not served here", "invalid_value", "trim.policy")
        given = [name for name in ("parameter", "price", "strong_share") if getattr(options, name) is not None]
        if len(given) > 1:
            raise ApiError(400, f"{' and '.join(given)}: give one of them", "invalid_value", f"trim.{given[1]}")
        if options.price is not None and not _is_saved(policy):
            raise ApiError(400, f"the policy {policy} has no price", "invalid_value", "trim.price")
        parameter = options.price if options.parameter is None else options.parameter
        return _Wish(policy, parameter, options.strong_share)


def _is_saved(policy: str) -> bool:
    return PolicySpec.parse(policy).family in SAVED
