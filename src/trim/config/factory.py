"""The open models of a configuration: in this process, behind servers, and what scores steps."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trim.config.settings import Config
from trim.errors import ConfigError
from trim.protocols import Policy, ProcessRewardModel, StepGenerator
from trim.routing.router import OnError, Router
from trim.types import Budget, Role, Sampling


@dataclass(frozen=True)
class Backends:
    """The open models of a configuration."""

    config: Config
    weak: StepGenerator
    strong: StepGenerator
    prm: ProcessRewardModel

    def sampled(self, sampling: Sampling) -> Backends:
        """The same models with tokens chosen in another way.

        Raises:
            ConfigError: a generator has no `sampled`: its sampling is fixed.
        """
        models = {}
        for role, generator in (("weak", self.weak), ("strong", self.strong)):
            if (sampled := getattr(generator, "sampled", None)) is None:
                raise ConfigError(f"the {role} model's sampling cannot be changed")
            models[role] = sampled(sampling)
        return replace(self, **models)

    def router(
        self,
        policy: Policy,
        *,
        budget: Budget | None = None,
        prm: ProcessRewardModel | None = None,
        max_tokens: int | None = None,
    ) -> Router:
        """A router over these models.

        Args:
            policy: decides.
            budget: instead of the configured one.
            prm: instead of the configured one (the oracle's labels).
            max_tokens: completion tokens of a solution at most.
        """
        config = self.config
        weak, strong, judge = config.weak.on_error, config.strong.on_error, config.prm.on_error
        return Router(
            self.weak,
            self.strong,
            prm or self.prm,
            policy,
            form=config.form(),
            budget=budget or Budget(config.budget.max_strong_tokens, config.budget.max_cost),
            prices=config.prices(),
            limits=config.limits(max_tokens),
            on_error=OnError(
                weak="strong" if weak == "strong" else "raise",
                strong="weak" if strong == "weak" else "raise",
                prm=judge,
            ),
        )


@asynccontextmanager
async def open_backends(config: Config) -> AsyncIterator[Backends]:
    """Load the models or connect to the servers; close them at the end."""
    async with AsyncExitStack() as stack:
        weak, strong = (_open_generator(config, role) for role in (Role.WEAK, Role.STRONG))
        prm = open_prm(config)
        for backend in (weak, strong, prm):
            stack.push_async_callback(backend.aclose)
        yield Backends(config, weak, strong, prm)


def _open_generator(config: Config, role: Role) -> Any:
    settings = config.weak if role is Role.WEAK else config.strong
    if settings.backend == "embedded":
        from trim.backends.onnx import EmbeddedGenerator

        if config.generation.separator != "blank-line":
            raise ConfigError("[generation] separator: the embedded models write blank lines between steps")
        return EmbeddedGenerator(settings.model or role.value, role, config.sampling())
    from trim.backends.client import TokenCounter
    from trim.backends.openai import OpenAIGenerator
    from trim.prompts import load_template

    return OpenAIGenerator(
        settings.base_url,
        settings.model,
        role,
        load_template(settings.template, settings.system or None),
        sampling=config.sampling(),
        form=config.form(),
        backend=settings.backend,
        continuation=settings.continuation,
        tokenizer=TokenCounter(settings.tokenizer) if settings.tokenizer else None,
        api_key=_key(settings.api_key_env, role.value),
        timeout=settings.timeout,
        retries=settings.retries,
    )


def open_prm(config: Config) -> Any:
    """The configured process reward model; its `aclose` is the caller's to call."""
    if not config.prm.recalibration:
        return _open_plain_prm(config)
    from trim.scoring.calibrated import RecalibratedPrm, RecalibrationCurve

    return RecalibratedPrm(_open_plain_prm(config), RecalibrationCurve.load(Path(config.prm.recalibration)))


def _open_plain_prm(config: Config) -> Any:
    settings = config.prm
    if settings.backend == "embedded":
        from trim.backends.onnx import EmbeddedPrm

        return EmbeddedPrm(settings.model or "prm")
    if settings.backend == "likelihood":
        from trim.scoring.likelihood import open_likelihood

        return open_likelihood(settings.model, settings.base_url, _key(settings.api_key_env, "prm"), settings.template)
    if settings.backend in ("log-probability", "entropy"):
        from trim.scoring.confidence import open_confidence

        key = _key(settings.api_key_env, "prm")
        return open_confidence(settings.backend, settings.model, settings.base_url, key, settings.template)
    if settings.backend in ("yes-no", "grade", "typed"):
        from trim.scoring.llm_judge import FORMS, JudgementPrm

        return JudgementPrm(
            settings.base_url,
            settings.model,
            FORMS[settings.backend],
            steps=config.form(),
            api_key=_key(settings.api_key_env, "prm"),
            timeout=settings.timeout,
            retries=settings.retries,
        )
    from trim.backends.client import TokenCounter
    from trim.prompts import load_template
    from trim.scoring.vllm_prm import VllmPrm

    return VllmPrm(
        settings.base_url,
        settings.model,
        load_template(settings.template, settings.system or None),
        step_mark=settings.step_mark,
        tokenizer=TokenCounter(settings.tokenizer) if settings.tokenizer else None,
        api_key=_key(settings.api_key_env, "prm"),
        timeout=settings.timeout,
        retries=settings.retries,
    )


def _key(variable: str, role: str) -> str | None:
    """The API key from the environment."""
    if not variable:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"[{role}] api_key_env names {variable}, which is not set")
    return key
