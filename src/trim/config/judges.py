"""The judge of a configuration, with what `[prm]` leaves to the models filled in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trim.config.judge_names import FITTED
from trim.config.model_names import PRESETS
from trim.config.settings import Config, ModelSettings, PriceSettings, PrmSettings
from trim.errors import ConfigError
from trim.scoring.fitted import fitted_file, fitted_model
from trim.scoring.recalibrated import RecalibrationCurve
from trim.scoring.registry import JUDGES, JudgeFamily
from trim.types import Role


def judge_for(config: Config) -> PrmSettings:
    """`[prm]` with all that it leaves to the models: which judge it is, and where its model is.

    This is the one place where that is decided. Without `[prm]` the shipped models have the shipped PRM. Others have a
    judge that was fitted on log-probabilities, for this weak model or for any, where its server gives them with its
    drafts; where it does not, the strong model is asked.

    Raises:
        ConfigError: the model that is to judge is a class of the user's own.
    """
    prm, role = config.prm, config.judging_role()
    kind = config.judge_kind()
    if kind == FITTED:
        return replace(prm, backend=kind, model=prm.model or fitted_file(config.weak.model).stem)
    if role is None:
        return replace(prm, backend=kind)
    model = config.weak if role is Role.WEAK else config.strong
    if model.backend == "embedded":
        return replace(prm, backend=kind, model=model.model or role.value)
    if model.backend not in PRESETS:
        words = f"[{role.value}] backend {model.backend} is a class of your own and cannot judge"
        raise ConfigError(f"{words}: write [prm] backend = ..., or --judge")
    family = JUDGES[kind]
    return replace(
        prm,
        backend=family.name,
        model=model.model,
        base_url=model.base_url,
        api_key_env=prm.api_key_env or model.api_key_env,
        template=model.template if prm.template == PrmSettings.template else prm.template,
        tokenizer=prm.tokenizer or model.tokenizer,
        omit=prm.omit or model.omit,
        extra_body=prm.extra_body or model.extra_body,
        headers=prm.headers or model.headers,
        prices=_prices(prm.prices, model, family),
    )


def score_at(config: Config, share: float) -> float | None:
    """The score that this share of the steps is below which a fitted judge's file is about; None: another judge.

    Raises:
        ConfigError: the judge's file or its curve cannot be read.
    """
    settings = judge_for(config)
    judge = fitted_model(settings.backend, settings.model)
    if judge is None:
        return None
    score = judge.score_at(share)
    return RecalibrationCurve.load(Path(settings.recalibration))(score) if settings.recalibration else score


def _prices(given: PriceSettings, model: ModelSettings, family: JudgeFamily) -> PriceSettings:
    """Those of `[prm.prices]`, else of the model that judges, as far as such a judge has them."""
    if given not in (PriceSettings(), Config().prm.prices):
        return given
    prices = model.prices
    return PriceSettings(
        prices.prompt,
        prices.completion if "prices.completion" in family.keys else None,
        prices.cached if "prices.cached" in family.keys else None,
    )
