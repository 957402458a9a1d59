"""What a run is made of: plain values that say everything, and open nothing.

`trim.config.resolution` makes them from a configuration, `trim.config.factory` opens what they say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trim.backends.gguf_hub import is_gguf, is_hub_name
from trim.backends.token_counts import size
from trim.config.judge_names import ASKING
from trim.config.judges import judge_for
from trim.gguf_head import gguf_fingerprint
from trim.policies.spec import PolicySpec
from trim.routing.cost_bounds import ASKED
from trim.routing.limits import Limits, OnError
from trim.scoring.registry import JUDGES
from trim.steps import StepFormat
from trim.types import Budget, Prices, Role, Sampling

if TYPE_CHECKING:
    from trim.config.settings import Config, ModelSettings, PrmSettings


@dataclass(frozen=True)
class BackendSpec:
    """What a generator and a judge have in common.

    Args:
        backend: `embedded`, another kind of `trim.config.settings`, or a class of the user's own.
        model: the server's name for it, or a shipped model or folder, or a GGUF file.
        base_url: the server's address; empty: it runs in this process.
        api_key_env: the environment variable with the API key, looked up when the model is opened.
        template: chat template's family, or a folder.
        tokenizer: folder of one, for servers that do not count tokens; None: they do.
        system: system prompt, or None.
        timeout: seconds of silence after which a request is given up, at most.
        retries: of a failed request.
        api_key: of a server that this process has started.
        omit: parameters that requests leave out.
        extra_body: what requests say besides, as a JSON object; empty: nothing.
        headers: what requests carry besides, as a JSON object; `${NAME}` stands for an environment variable.
    """

    backend: str
    model: str
    base_url: str
    api_key_env: str
    template: str
    tokenizer: str | None
    system: str | None
    timeout: float
    retries: int
    api_key: str = field(default="", repr=False, kw_only=True)
    omit: tuple[str, ...] = field(default=(), kw_only=True)
    extra_body: str = field(default="", kw_only=True)
    headers: str = field(default="", repr=False, kw_only=True)

    @property
    def is_own(self) -> bool:
        """Whether the backend is a class of the user's own."""
        return _is_own(self.backend)

    def identity(self) -> str:
        """What results call it, see `identities`."""
        if self.base_url:
            return f"{self.backend}:{self.model} at {self.base_url}"
        if self.is_own:
            return f"{self.backend}:{self.model}" if self.model else self.backend
        if is_hub_name(self.model):
            return f"{self.backend}:{self.model}"
        if self.model.endswith(".gguf"):
            file = Path(self.model).expanduser()
            return f"{self.backend}:{file.name}@{gguf_fingerprint(file)}"
        from trim.backends.onnx_model import fingerprint

        return f"{self.backend}:{self.model}@{fingerprint(self.model)}"


@dataclass(frozen=True)
class GeneratorSpec(BackendSpec):
    """A weak or strong model, by its role.

    Args:
        continuation: how a server is asked to continue a text.
        template_options: variables of the chat template, as a JSON object; empty: none.
        context: tokens of a prompt and its answer; None: as the server says.
        slots, threads: of a GGUF file; None: as fits the machine.
        first_timeout: seconds until an answer begins; None: `timeout`.
    """

    role: Role
    continuation: Literal["completions", "chat", "instruct"]
    template_options: str
    context: int | None
    slots: int | None
    threads: int | None
    first_timeout: float | None = None


@dataclass(frozen=True)
class JudgeSpec(BackendSpec):
    """What scores steps.

    Args:
        context: tokens that the model can read, where longer text is to be refused before it is sent.
        step_mark: text at which a PRM's scores are read.
        raw_logits: a PRM's scores are logits, not probabilities.
        recalibration: file of a curve that scores go through, or None.
    """

    context: int | None
    step_mark: str
    raw_logits: bool
    recalibration: Path | None

    def identity(self) -> str:
        if self.backend == "fitted":
            from trim.scoring.fitted import identity

            name = identity(self.model)
        else:
            name = super().identity()
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

    @property
    def judges_shipped_texts(self) -> bool:
        """Whether a judge on a server has nothing to judge but what the shipped models write."""
        return bool(self.judge.base_url or is_gguf(self.judge.model)) and {self.weak.backend, self.strong.backend} == {
            "embedded"
        }

    def system_tokens(self) -> dict[Role, int]:
        """Tokens at most of what stands before a question besides its template, by role."""
        models = {Role.WEAK: self.weak, Role.STRONG: self.strong}
        found = {
            role: size(one.system or "") + ASKED * (one.continuation != "completions") for role, one in models.items()
        }
        return found | {Role.PRM: size(self.judge.system or "") + ASKED * (self.judge.backend in ASKING)}


def identities(config: Config) -> dict[str, str]:
    """What results, saved policies and reports call the models, by role. Reads the weights of local ones, for their
    fingerprint.
    """
    weak, strong = generator_spec(config.weak, Role.WEAK), generator_spec(config.strong, Role.STRONG)
    return {"weak": weak.identity(), "strong": strong.identity(), "prm": judge_spec(judge_for(config)).identity()}


def generator_spec(settings: ModelSettings, role: Role) -> GeneratorSpec:
    return GeneratorSpec(
        **vars(_shared(settings, role.value)),
        role=role,
        continuation=settings.continuation,
        template_options=settings.template_options,
        context=settings.context,
        slots=settings.slots,
        threads=settings.threads,
        first_timeout=settings.first_timeout,
    )


def judge_spec(settings: PrmSettings) -> JudgeSpec:
    local = "" if _is_own(settings.backend) else JUDGES[settings.backend].local
    curve = Path(settings.recalibration) if settings.recalibration else None
    return JudgeSpec(
        **vars(_shared(settings, local or Role.PRM.value)),
        context=settings.context,
        step_mark=settings.step_mark,
        raw_logits=settings.raw_logits,
        recalibration=curve,
    )


def _shared(settings: ModelSettings | PrmSettings, shipped: str) -> BackendSpec:
    """`shipped` is the model where none is named and the backend is not the user's own."""
    return BackendSpec(
        backend=settings.backend,
        model=settings.model or ("" if _is_own(settings.backend) else shipped),
        base_url=settings.base_url,
        api_key_env=settings.api_key_env,
        template=settings.template,
        tokenizer=settings.tokenizer or None,
        system=settings.system or None,
        timeout=settings.timeout,
        retries=settings.retries,
        omit=settings.omit,
        extra_body=settings.extra_body,
        headers=settings.headers,
    )


def _is_own(backend: str) -> bool:
    from trim.config.settings import LISTED_BACKENDS

    return backend not in LISTED_BACKENDS
