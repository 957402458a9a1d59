"""What a run is made of: plain values that say everything, and open nothing.

`trim.config.resolution` makes them from a configuration, `trim.config.factory` opens what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trim.policies.spec import PolicySpec
from trim.routing.limits import Limits, OnError
from trim.scoring.registry import JUDGES
from trim.steps import StepFormat
from trim.types import Budget, Prices, Role, Sampling

if TYPE_CHECKING:
    from trim.config.settings import Config, JudgeKind, ModelSettings, PrmSettings, ServerKind


@dataclass(frozen=True)
class GeneratorSpec:
    """A weak or strong model.

    Args:
        role: which of the two.
        backend: `embedded`, the kind of its server, or a class of the user's own.
        model: the server's name for it, or a shipped model or folder.
        base_url: the server's address; empty: it runs in this process.
        api_key_env: the environment variable with the API key, looked up when the model is opened.
        continuation: how a server is asked to continue a text.
        template: chat template's family, or a folder.
        tokenizer: folder of one, for servers that do not count tokens; None: they do.
        system: system prompt, or None.
        timeout: seconds.
        retries: of a failed request.
    """

    role: Role
    backend: ServerKind
    model: str
    base_url: str
    api_key_env: str
    continuation: Literal["completions", "chat", "instruct"]
    template: str
    tokenizer: str | None
    system: str | None
    timeout: float
    retries: int

    @property
    def is_own(self) -> bool:
        """Whether the backend is a class of the user's own."""
        return _is_own(self.backend)

    def identity(self) -> str:
        """What results call it, see `identities`."""
        return _identity(self.backend, self.model, self.base_url)


@dataclass(frozen=True)
class JudgeSpec:
    """What scores steps. Like a `GeneratorSpec`, and:

    Args:
        step_mark: text at which a PRM's scores are read.
        recalibration: file of a curve that scores go through, or None.
    """

    backend: JudgeKind
    model: str
    base_url: str
    api_key_env: str
    template: str
    tokenizer: str | None
    system: str | None
    step_mark: str
    recalibration: Path | None
    timeout: float
    retries: int

    @property
    def is_own(self) -> bool:
        """Whether the backend is a class of the user's own."""
        return _is_own(self.backend)

    def identity(self) -> str:
        """What results call it, see `identities`."""
        name = _identity(self.backend, self.model, self.base_url)
        return name if self.recalibration is None else f"{name} through {self.recalibration.name}"


@dataclass(frozen=True)
class RunSpec:
    """Models, policy and limits: all that an answer depends on, besides the question and the seed."""

    weak: GeneratorSpec
    strong: GeneratorSpec
    judge: JudgeSpec
    policy: PolicySpec
    parameter: float | None
    step_format: StepFormat
    sampling: Sampling
    limits: Limits
    budget: Budget
    prices: Prices
    on_error: OnError


def identities(config: Config) -> dict[str, str]:
    """What results, saved policies and reports call the models, by role. Reads the weights of local ones, for their
    fingerprint.
    """
    weak, strong, judge = (
        generator_spec(config.weak, Role.WEAK),
        generator_spec(config.strong, Role.STRONG),
        judge_spec(config.prm),
    )
    return {"weak": weak.identity(), "strong": strong.identity(), "prm": judge.identity()}


def _is_own(backend: str) -> bool:
    """Whether a backend is a class of the user's own."""
    from trim.config.settings import LISTED_BACKENDS

    return backend not in LISTED_BACKENDS


def _identity(backend: str, model: str, base_url: str) -> str:
    if base_url:
        return f"{backend}:{model} at {base_url}"
    if _is_own(backend):
        return f"{backend}:{model}" if model else backend
    from trim.backends.onnx_model import fingerprint

    return f"{backend}:{model}@{fingerprint(model)}"


def generator_spec(settings: ModelSettings, role: Role) -> GeneratorSpec:
    return GeneratorSpec(
        role=role,
        backend=settings.backend,
        model=settings.model or ("" if _is_own(settings.backend) else role.value),
        base_url=settings.base_url,
        api_key_env=settings.api_key_env,
        continuation=settings.continuation,
        template=settings.template,
        tokenizer=settings.tokenizer or None,
        system=settings.system or None,
        timeout=settings.timeout,
        retries=settings.retries,
    )


def judge_spec(settings: PrmSettings) -> JudgeSpec:
    own = _is_own(settings.backend)
    return JudgeSpec(
        backend=settings.backend,
        model=settings.model or ("" if own else JUDGES[settings.backend].local or Role.PRM.value),
        base_url=settings.base_url,
        api_key_env=settings.api_key_env,
        template=settings.template,
        tokenizer=settings.tokenizer or None,
        system=settings.system or None,
        step_mark=settings.step_mark,
        recalibration=Path(settings.recalibration) if settings.recalibration else None,
        timeout=settings.timeout,
        retries=settings.retries,
    )
