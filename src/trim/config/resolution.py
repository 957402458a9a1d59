"""A configuration becomes the specs of a run, once; everything else is built from them.

No model is opened and no server asked. The one file that is read is a policy's from `trim calibrate`, where `[policy]`
names one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trim.config.judges import judge_for
from trim.config.policy import choose
from trim.config.specs import RunSpec, generator_spec, judge_spec
from trim.errors import ConfigError
from trim.routing.limits import Limits, OnError
from trim.steps import Separator, StepFormat
from trim.types import Budget, Prices, Role, Sampling

if TYPE_CHECKING:
    from trim.config.settings import Config


def resolve(config: Config) -> RunSpec:
    """What a configuration says.

    Raises:
        ConfigError: the calibrated policy that it names cannot be read, or is for other models.
    """
    g, budget, policy, judge = config.generation, config.budget, choose(config), judge_for(config)
    prices = Prices(config.weak.prices.known(), config.strong.prices.known(), judge.prices.known())
    limits = (budget.max_cost, config.serve.spend_per_hour, config.serve.spend_per_day, *config.serve.spend_targets())
    if prices.missing and any(limit is not None for limit in limits):
        raise ConfigError(f"limits in dollars need every price, and {prices.missing[0]} is not set (0 is a price)")
    return RunSpec(
        weak=generator_spec(config.weak, Role.WEAK),
        strong=generator_spec(config.strong, Role.STRONG),
        judge=judge_spec(judge),
        policy=policy.spec,
        parameter=policy.parameter,
        step_format=StepFormat(Separator(g.separator), g.answer or None, g.reasoning),
        sampling=Sampling(g.temperature, g.top_p, g.top_k, g.max_step_tokens),
        limits=Limits(g.max_steps or Limits().max_steps, g.max_drafts, g.lookahead),
        budget=Budget(budget.max_strong_tokens, budget.max_cost),
        prices=prices,
        on_error=_on_error(config),
    )


def _on_error(config: Config) -> OnError:
    """Which model replaces one that failed; that it is another one has been checked by the configuration."""
    weak, strong = config.weak.on_error, config.strong.on_error
    return OnError(
        weak="strong" if weak == "strong" else "raise",
        strong="weak" if strong == "weak" else "raise",
        prm=config.prm.on_error,
    )
