"""The open models of a configuration: in this process, behind servers, and what scores steps."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

from trim import plugins
from trim.config import local_models
from trim.config.judge_notes import judge_note
from trim.config.policy import calibrated, open_policy
from trim.config.resolution import resolve
from trim.config.specs import BackendSpec, GeneratorSpec, RunSpec
from trim.errors import ConfigError
from trim.protocols import Judge, Policy, StepGenerator
from trim.routing.router import Router
from trim.scoring import registry
from trim.scoring.fitted import fitted_model
from trim.steps import MARKED, Separator
from trim.tasks.final_answers import final_answer
from trim.types import Budget, Question, Sampling, Trace

if TYPE_CHECKING:
    from trim.config.settings import Config
    from trim.prompts import ChatTemplate


_VARIABLE = re.compile(r"\$\{(\w+)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 20  # of a variable in small letters
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backends:
    """The open models of a configuration."""

    config: Config
    weak: StepGenerator
    strong: StepGenerator
    prm: Judge

    @cached_property
    def spec(self) -> RunSpec:
        """What the configuration says, resolved."""
        return resolve(self.config)

    def sampled(self, sampling: Sampling) -> Backends:
        """The same models with tokens chosen in another way.

        Raises:
            ConfigError: the sampling of a generator is fixed.
        """
        return replace(self, weak=self.weak.sampled(sampling), strong=self.strong.sampled(sampling))

    def router(
        self,
        policy: Policy,
        *,
        budget: Budget | None = None,
        prm: Judge | None = None,
        max_tokens: int | None = None,
        refused: Literal["raise", "stop"] = "raise",
        max_steps: int | None = None,
        answer: str | None = MARKED,
    ) -> Router:
        """A router over these models.

        Args:
            policy: decides.
            budget: instead of the configured one.
            prm: instead of the configured one (the oracle's labels).
            max_tokens: completion tokens of a solution at most.
            refused: what follows when a server does not take a solution's text, see `OnError`.
            max_steps: steps of a solution at most where the configuration does not say; None: as many as usual.
            answer: what ends a solution (see `StepFormat`) where the configuration does not say.

        Raises:
            ConfigError: the policy reads scores, which a judge on a server would give to texts of the shipped models.
        """
        spec = self.spec
        if policy.uses_scores and prm is None and spec.judges_shipped_texts:
            words = f"{spec.judge.backend} at {spec.judge.base_url} does not know the texts of the shipped models"
            raise ConfigError(
                f"[prm] model: {words}: write [weak] and [strong] model = 'KIND/MODEL', or leave [prm] out"
            )
        form = spec.step_format
        limits = replace(spec.limits, max_tokens=max_tokens)
        if max_steps is not None and self.config.generation.max_steps is None:
            limits = replace(limits, max_steps=max_steps)
        return Router(
            self.weak,
            self.strong,
            prm or self.prm,
            policy,
            form=form if form.answer is not None else replace(form, answer=answer),
            budget=budget or spec.budget,
            prices=spec.prices,
            limits=limits,
            on_error=replace(spec.on_error, refused=refused),
        )

    async def solve(
        self,
        question: Question | str,
        policy: Policy | str | None = None,
        *,
        parameter: float | None = None,
        seed: int = 0,
    ) -> Trace:
        """Solve one question. `Trace.text` is the solution, `Trace.answer` its final answer.

        Args:
            question: what is asked.
            policy: decides, or its name, such as `threshold+2`; None: the configured one.
            parameter: of a policy that is named or configured; None: its own.
            seed: of the sampling.

        Raises:
            ConfigError: there is no such policy, or it does not fit the models.
            BackendError: a model failed.
        """
        if policy is None or isinstance(policy, str):
            policy = open_policy(self.config, policy, parameter)
        asked = Question(question) if isinstance(question, str) else question
        trace = await self.router(policy).route(asked, seed=seed)
        return replace(trace, answer=final_answer(trace.said))


@asynccontextmanager
async def open_backends(config: Config) -> AsyncIterator[Backends]:
    """Load the models or connect to the servers; close them at the end."""
    config = calibrated(config)
    spec = resolve(config)
    if warning := judge_note(config).warning:
        logger.warning("%s", warning)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(local_models.serving(spec))
        weak, strong, judge = open_generator(spec.weak, spec), open_generator(spec.strong, spec), open_judge(spec)
        for backend in (weak, strong, judge):
            stack.push_async_callback(backend.aclose)
        yield Backends(config, weak, strong, judge)


def open_generator(model: GeneratorSpec, run: RunSpec) -> StepGenerator:
    """A weak or strong model; its `aclose` is the caller's to call.

    Raises:
        ConfigError: there is no such model, template or API key, or it cannot write steps in this format.
    """
    if model.is_own:
        own = plugins.BACKENDS.make(model.backend, model)
        plugins.require_members(own, StepGenerator, f"[{model.role}] backend {model.backend}")
        return cast("StepGenerator", own)
    if model.backend == "embedded":
        from trim.backends.onnx import EmbeddedGenerator

        if run.step_format.separator is not Separator.BLANK_LINE:
            raise ConfigError("[generation] separator: the embedded models write blank lines between steps")
        return EmbeddedGenerator(model.model, model.role, run.sampling)
    if model.backend == local_models.KIND:
        model = local_models.served_generator(model)
    from trim.backends.capabilities import gives_logprobs
    from trim.backends.openai import OpenAIGenerator
    from trim.backends.request_extras import RequestExtras
    from trim.backends.token_counter import TokenCounter

    needed = fitted_model(run.judge.backend, run.judge.model)
    return OpenAIGenerator(
        model.base_url,
        model.model,
        model.role,
        _template(model),
        sampling=run.sampling,
        form=run.step_format,
        backend=model.backend,
        continuation=model.continuation,
        tokenizer=None if model.tokenizer is None else TokenCounter(model.tokenizer),
        api_key=model.api_key or _api_key(model.api_key_env, model.role.value),
        timeout=model.timeout,
        first_timeout=model.first_timeout,
        retries=model.retries,
        extras=RequestExtras(model.omit, json.loads(model.extra_body or "{}"), _headers(model, model.role.value)),
        ask_server=not model.template,
        context=model.context,
        logprobs=needed is not None and needed.needs_logprobs and gives_logprobs(model.backend),
        entropies=needed is not None and needed.needs_entropy,
    )


def _headers(model: BackendSpec, role: str) -> dict[str, str]:
    """The headers with the environment's values in place of `${NAME}`."""
    found: dict[str, str] = {}
    for header, text in json.loads(model.headers or "{}").items():
        where = f"[{role}] headers: {header}"
        for name in _VARIABLE.findall(text):
            if not os.environ.get(name):
                raise ConfigError(f"{where} names {name}, which is not set: export {name}=...")
        value = _VARIABLE.sub(lambda match: os.environ[match[1]], text)
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"{where} must be ASCII characters on one line")
        found[header] = value
    return found


def _template(model: GeneratorSpec) -> ChatTemplate:
    """The configured chat template; where there is none, a family that the model's name suggests."""
    from trim.prompts import family_of, load_template

    family = family_of(model.model)
    template = load_template(model.template or family, model.system, model.template_options)
    return template if model.template else replace(template, origin=f"{family}, guessed from the model's name")


def open_prm(config: Config) -> Judge:
    """The configured judge alone; its `aclose` is the caller's to call. A GGUF file must be served, see
    `trim.config.local_models`.
    """
    return open_judge(resolve(config))


def open_judge(run: RunSpec) -> Judge:
    """The judge of a run, its scores recalibrated where that is asked for; its `aclose` is the caller's to call.

    Raises:
        ConfigError: there is no such model, template, API key or curve.
    """
    spec = local_models.at_server(run.judge) if local_models.reads(run) else run.judge
    spec = replace(spec, headers=json.dumps(_headers(spec, "prm")))
    judge = registry.open_judge(spec, spec.api_key or _api_key(spec.api_key_env, "prm"), run.step_format)
    if run.judge.recalibration is None:
        return judge
    from trim.scoring.recalibrated import RecalibratedJudge, RecalibrationCurve

    curve = run.judge.recalibration
    return RecalibratedJudge(judge, RecalibrationCurve.load(curve), curve.name)


def _api_key(variable: str, role: str) -> str | None:
    """The API key from the environment."""
    if not variable:
        return None
    if not _NAME.fullmatch(variable):
        words = "it is the name of an environment variable, such as OPENAI_API_KEY, never the key itself"
        raise ConfigError(f"[{role}] api_key_env: {words}")
    key = os.environ.get(variable)
    if not key:
        named = variable if variable.isupper() or len(variable) < _LONGEST_NAME else "NAME"  # it may be a key after all
        raise ConfigError(f"[{role}] api_key_env names {named}, which is not set: export {named}=...")
    from trim.backends.environment import ApiKey, usable_key

    return ApiKey(usable_key(key, f"[{role}] api_key_env: {variable}"), variable)
