"""The configuration: what may be set, what it means, and what each value must be.

    [weak]                                  # [strong] likewise
    model = "ollama/qwen2.5:1.5b"           # or in full: backend, base_url, model, continuation, api_key_env
    [prm]
    model = "vllm/my-prm@http://gpu:8003"   # or "strong": the strong model judges

`load_config` reads one from a TOML file and the environment; `Config()` is the embedded pair. Every value is checked
where it is set, in Python too; nothing here reads a file or the environment. `trim.config.reference` lists all keys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from trim.backends.capabilities import gives_logprobs
from trim.backends.gguf_hub import is_gguf
from trim.config.judge_names import AUTO, FITTED, completed_judge, judge_kind, judging_role
from trim.config.model_names import IN_PROCESS, PRESETS, completed
from trim.config.validation import broken_rule, fields, sentence, table_of
from trim.config.value_types import Body, Flag, Headers, Hosts, Networks, Number, Origins, Text, Url, Whole
from trim.errors import ConfigError
from trim.plugins import BACKENDS, SCORERS, ExtensionPoint, is_reference
from trim.policies.registry import check
from trim.policies.spec import PolicySpec
from trim.scoring.registry import JUDGES, takers
from trim.types import Price, Prices, Role

__all__ = [
    "BudgetSettings",
    "Config",
    "GenerationSettings",
    "ModelSettings",
    "PolicySettings",
    "PriceSettings",
    "PrmSettings",
    "ServeSettings",
]

if TYPE_CHECKING:
    ServerKind = str
    JudgeKind = str
else:
    ServerKind = Literal[tuple(PRESETS)]
    JudgeKind = Literal[AUTO, *JUDGES]
LISTED_BACKENDS = {AUTO, *PRESETS, *JUDGES}
"""All others are names of the user's own, which `trim.plugins` resolves when the backend is opened."""

_TABLE = ConfigDict(extra="forbid")


def _or_own(point: ExtensionPoint) -> WrapValidator:
    """Lets a name of the user's own pass beside the choices: an entry point, `MODULE:NAME` or `FILE.py:NAME`."""

    def check(value: object, choices: ValidatorFunctionWrapHandler) -> object:
        try:
            return choices(value)
        except ValidationError:  # only now: to look through what is installed takes time
            if isinstance(value, str) and (is_reference(value) or value in point.names()):
                return value
            raise

    return WrapValidator(check)


def _filled(data: object, settings: type, complete: Callable[[Mapping[str, object]], dict[str, object]]) -> object:
    """What is given for a table, completed before it is checked."""
    if isinstance(data, ArgsKwargs):
        names = [key[0] for key in fields(settings) if len(key) == 1]
        if len(data.args) > len(names):
            return data
        data = dict(zip(names, data.args, strict=False)) | (data.kwargs or {})
    if not isinstance(data, dict):
        return data
    tables = {key: data[key] for key in ("extra_body", "headers") if isinstance(data.get(key), dict)}
    try:
        return complete({**data, **{key: json.dumps(table) for key, table in tables.items()}})
    except (TypeError, ValueError):  # dates and times of TOML
        raise broken_rule("it must hold texts, numbers, lists and tables only", *list(tables)[:1]) from None
    except ConfigError as error:
        raise broken_rule(str(error), "model") from None


class _Table(type):
    """Settings that are made in Python raise what everything else of TRIM raises."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ValidationError as error:
            raise ConfigError(sentence(error.errors()[0], cls)[1]) from None


@dataclass(frozen=True, config=_TABLE)
class PriceSettings(metaclass=_Table):
    """What tokens of a role cost, in dollars per million tokens. A price that is not set is not known, and neither is
    the cost of what has it; 0 is a price.
    """

    prompt: Number | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Dollars for a million prompt tokens. Without it: not known, and so is what they cost.",
    )
    completion: Number | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Dollars for a million completion tokens. Without it: not known, and so is what they cost.",
    )
    cached: Number | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Dollars for a million prompt tokens that a prefix cache held. Without it: the same as prompt.",
    )

    def known(self) -> Price:
        """The prices that are set."""
        return Price(self.prompt, self.completion, self.cached)


# Keys that models and the judge share.
_API_KEY_ENV = Field(
    default="",
    description="Name of the environment variable that holds the API key, never the key itself. Without it: that of "
    "the provider, if the address is its own.",
)
_TEMPLATE = Field(
    default="",
    description="Chat template: a family, a folder with the tokenizer files, a `.jinja` or a `.gguf` file. Empty: the "
    "server's own where it tells (llama-server, vLLM), else the family that the model's name suggests.",
)
_OMIT = Field(
    default=(),
    description='Parameters that the model refuses, such as `["temperature"]`: they are left out. Those that a '
    "server's refusal names are left out without being listed.",
)
_EXTRA_BODY = Field(
    default="", description='What every request says besides, as a table: `{ provider = { order = ["x"] } }`.'
)
_HEADERS = Field(
    default="",
    repr=False,
    description='Headers of every request, as a table: `{ X-Team = "maths", X-Token = "${TEAM_TOKEN}" }`. '
    "`${NAME}` is an environment variable; the values stand in no log and no result.",
)
_TIMEOUT = Field(
    default=60.0,
    gt=0,
    description="Seconds that the server may be silent before a request is given up; keep-alives are silence. Shorter "
    "once its own times are known, see [time limits](../how-to/use-the-gateway.md#a-backend-that-hangs).",
)
_RETRIES = Field(default=3, ge=0, description="How often a failed request is sent again.")


@dataclass(frozen=True, config=_TABLE)
class ModelSettings(metaclass=_Table):
    """A generator: the weak or the strong model."""

    backend: Annotated[ServerKind, _or_own(BACKENDS)] = Field(
        default="embedded",
        description="Where the model runs: `embedded` in this process, else the kind of its server; or a class of your "
        "own, `MODULE:NAME` or `FILE.py:NAME`.",
    )
    model: Text = Field(
        default="",
        description="`KIND/MODEL` or `KIND/MODEL@URL`, such as `ollama/qwen2.5:1.5b`, which needs no other key; see "
        "[kinds of models](kinds.md). With a `backend` beside it, the server's name for the model. For `embedded` a "
        "shipped model or a folder; empty: the shipped one of the role.",
    )
    base_url: Url = Field(
        default="",
        description="The server's address, up to and including `/v1`, with `USER:PASSWORD@` in front of its host if it "
        "wants these; they stand in no log and no result. Empty: where its kind usually is.",
    )
    api_key_env: Text = _API_KEY_ENV
    continuation: Literal["completions", "chat", "instruct"] = Field(
        default="completions",
        description="How a server is asked to continue a text: `completions`, `chat` with the text as an unfinished "
        "answer, or `instruct` where it can do neither. Without it: what suits its kind.",
    )
    template: Text = _TEMPLATE
    template_options: Text = Field(
        default="",
        description="Variables of a model's own chat template, as a JSON object: `'{\"enable_thinking\": false}'`.",
    )
    tokenizer: Text = Field(
        default="", description="Folder with a `tokenizer.json`, for servers that do not count tokens."
    )
    system: Text = Field(default="", description="System prompt. Empty: what the task suggests, if it does.")
    omit: tuple[Text, ...] = _OMIT
    extra_body: Body = _EXTRA_BODY
    headers: Headers = _HEADERS
    timeout: Number = _TIMEOUT
    first_timeout: Number | None = Field(
        default=None, gt=0, description="The same until an answer begins. Without it: `timeout`."
    )
    retries: Whole = _RETRIES
    on_error: Literal["raise", "weak", "strong"] = Field(
        default="raise",
        description="What follows when the model fails: an error, or the named model finishes the solution.",
    )
    context: Whole | None = Field(
        default=None,
        ge=512,
        description="Tokens of a prompt and its answer at most. Without it: as the server says; of a GGUF file what "
        "fits into memory, 8,192 at most.",
    )
    slots: Whole | None = Field(
        default=None,
        ge=1,
        description="Texts that a GGUF file works on at the same time, each with a `context` of its own. Without it: "
        "4, or as many as fit into memory.",
    )
    threads: Whole | None = Field(
        default=None, ge=1, description="Threads that compute for a GGUF file. Without it: all cores."
    )
    prices: PriceSettings = Field(default_factory=PriceSettings, description="What the model's tokens cost.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: object) -> object:
        return _filled(data, cls, completed)


@dataclass(frozen=True, config=_TABLE)
class PrmSettings(metaclass=_Table):
    """The judge of steps, a process reward model or an alternative to one."""

    backend: Annotated[JudgeKind, _or_own(SCORERS)] = Field(
        default=AUTO,
        description="What scores steps. `auto`: the model that `model` names, else the shipped PRM for the shipped "
        "models and for others the strong model, asked. Or: the shipped PRM (`embedded`), a PRM on a vLLM server "
        "(`vllm`), the token probabilities of a causal model (`likelihood`, `log-probability`, `entropy`), or a "
        "language model that is asked (`yes-no`, `grade`, `typed`); or a class of your own, `MODULE:NAME` or "
        "`FILE.py:NAME`.",
    )
    model: Text = Field(
        default="",
        description="A model's name as for `[weak]`, or, without an address, `strong` or `weak`: that role's model. "
        "With an address, or a `backend`, the server's name for the model, or a shipped model or folder; empty: the "
        "shipped PRM, for `likelihood` the shipped judge, for `log-probability` and `entropy` the weak model.",
    )
    base_url: Url = Field(
        default="",
        description="The server's address. `likelihood` and the other log-probability judges may do without one.",
    )
    api_key_env: Text = _API_KEY_ENV
    template: Text = _TEMPLATE
    tokenizer: Text = Field(
        default="",
        description="Folder with the model's `tokenizer.json`. A PRM's steps are counted with it; texts for "
        "log-probabilities are sent as its tokens.",
    )
    context: Whole | None = Field(
        default=None,
        ge=1,
        description="Tokens that the model can read: longer text is refused before it is sent. Needs `tokenizer`.",
    )
    system: Text = Field(default="", description="System prompt of the judge.")
    omit: tuple[Text, ...] = _OMIT
    extra_body: Body = _EXTRA_BODY
    headers: Headers = _HEADERS
    step_mark: Text = Field(
        default="<extra_0>", description="Text after each step, at which the PRM's scores are read."
    )
    raw_logits: Flag = Field(
        default=False, description="Whether the server sends a PRM's logits in place of its probabilities."
    )
    recalibration: Text = Field(
        default="", description="File with the curve that `trim eval-prm --recalibrate` wrote; scores go through it."
    )
    timeout: Number = _TIMEOUT
    retries: Whole = _RETRIES
    on_error: Literal["raise", "weak", "strong"] = Field(
        default="raise",
        description="What follows when the judge fails: an error, or the named model finishes the solution.",
    )
    prices: PriceSettings = Field(default_factory=PriceSettings, description="What the judge's tokens cost.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: object) -> object:
        return _filled(data, cls, completed_judge)


@dataclass(frozen=True, config=_TABLE)
class PolicySettings(metaclass=_Table):
    """The policy of `trim solve` and of the gateway's model `trim`, unless a command or a request names another."""

    name: Text = Field(
        default="threshold",
        description="A policy with its options, such as `threshold+2`, or a `.json` file that `trim calibrate` wrote.",
    )
    parameter: Number | None = Field(
        default=None,
        description="The policy's parameter. Without it: its default; for a saved policy the price it was saved at.",
    )
    path: Text = Field(
        default="",
        description="Folder of a saved policy (pomdp, agg, seq). Empty: the one shipped for the embedded models.",
    )


@dataclass(frozen=True, config=_TABLE)
class BudgetSettings(metaclass=_Table):
    """Hard caps per question."""

    max_strong_tokens: Whole | None = Field(
        default=None, ge=0, description="Tokens that the strong model may write for one question. Without it: no cap."
    )
    max_cost: Number | None = Field(
        default=None,
        ge=0,
        description="What one question may cost, in dollars; needs the prices of every role. Without it: no cap.",
    )


@dataclass(frozen=True, config=_TABLE)
class GenerationSettings(metaclass=_Table):
    """How solutions are written."""

    temperature: Number = Field(
        default=0.7, ge=0, description="Sampling temperature; 0 always takes the most likely token."
    )
    top_p: Number = Field(
        default=0.8, gt=0, le=1, description="Sample from the most likely tokens of this total probability."
    )
    top_k: Whole = Field(default=20, ge=0, description="Sample from this many of the most likely tokens; 0: from all.")
    max_steps: Whole | None = Field(
        default=None, ge=1, description="Steps of a solution at most. Without it: 30, and in the gateway no limit."
    )
    max_step_tokens: Whole = Field(
        default=2048,
        ge=1,
        description="Tokens of a step at most; one that is longer, such as a long block of code, is cut there, and the "
        "next step goes on.",
    )
    separator: Literal["blank-line", "newline", "numbered", "sentence"] = Field(
        default="blank-line", description="What ends a step."
    )
    lookahead: Whole = Field(
        default=1, ge=0, description="Steps that are drafted ahead while a draft is scored; 0: a request for each step."
    )
    max_drafts: Whole = Field(
        default=5,
        ge=1,
        description="Drafts of one step at most; then the strong model writes it instead of a resample.",
    )
    answer: Text = Field(
        default="",
        description="What ends a solution besides the model: `marked` (a box, or `#### 42`) or a regular expression "
        "that a step matches. Empty: in evaluations as the task says, in the gateway nothing.",
    )
    reasoning: Literal["steps", "one-step"] = Field(
        default="steps",
        description="Reasoning, in `<think>` or in a field of its own: cut into `steps` like other text, or "
        "`one-step`, so that it is kept or rejected as a whole.",
    )


@dataclass(frozen=True, config=_TABLE)
class ServeSettings(metaclass=_Table):
    """The gateway, `trim serve`."""

    host: Text = Field(default="127.0.0.1", description="Address to listen at.")
    port: Whole = Field(default=8080, ge=0, le=65_535, description="Port to listen at; 0: any that is free.")
    keys: Text = Field(
        default="",
        description="File with hashed API keys (`trim key` writes entries). Empty: everybody may send requests.",
    )
    max_requests: Whole = Field(default=256, ge=1, description="Requests that are worked on at the same time.")
    queue: Whole = Field(
        default=256, ge=0, description="Requests that may wait for their turn; more are refused with 429."
    )
    max_connections: Whole = Field(
        default=2_048,
        ge=1,
        description="Connections of clients at most, of each worker process; one more gets only `/healthz`, and 503.",
    )
    connections_per_address: Whole = Field(
        default=512, ge=0, description="Of these, connections from one address at most; 0: any number of them."
    )
    trusted_proxies: Networks = Field(
        default=(),
        description='Addresses or networks, such as `["10.0.0.0/8"]`, whose connections are those of many clients: '
        "`connections_per_address` does not hold for them.",
    )
    deadline: Number = Field(default=300.0, gt=0, description="Seconds that a request may take, waiting included.")
    grace: Number = Field(default=30.0, gt=0, description="Seconds that running requests get when the server stops.")
    max_body: Whole = Field(default=1_000_000, ge=1, description="Bytes of a request's body at most.")
    max_tokens: Whole = Field(
        default=4_096, ge=1, description="Completion tokens of an answer at most, also where a request allows more."
    )
    max_choices: Whole = Field(default=8, ge=1, description="Choices of a request (`n`) at most.")
    pass_through: Flag = Field(
        default=False,
        description="Whether requests that step routing cannot serve (tools, images, logprobs) are passed whole to the "
        "strong model's server. Without it they are refused.",
    )
    target_strong_share: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of tokens from the strong model that the model `trim` is held to by adjusting its policy's "
        "parameter.",
    )
    target_spend_per_hour: Number | None = Field(
        default=None,
        ge=0,
        description="Spend per hour, over all requests, that the model `trim` is held to in the same way.",
    )
    target_spend_per_day: Number | None = Field(default=None, ge=0, description="The same per day.")
    spend_per_hour: Number | None = Field(
        default=None,
        ge=0,
        description="Hard cap on the spend over all requests; then 429 until the hour (UTC) is over.",
    )
    spend_per_day: Number | None = Field(default=None, ge=0, description="The same per day (UTC).")
    cors_origins: Origins = Field(
        default=(),
        description="Origins (`https://chat.example.org`) whose pages may call the gateway from a browser; `*`: all. "
        "Empty: none but its own and those of this machine.",
    )
    allowed_hosts: Hosts = Field(
        default=(),
        description="Names by which clients reach the gateway (`trim.example.org`, `*.example.org`; `*`: any), besides "
        "`localhost`, addresses of loopback and `host`. Requests with another name in their `Host` are refused.",
    )
    insecure: Flag = Field(
        default=False,
        description="Whether a gateway without `keys` may listen where other machines reach it, as with `--insecure`.",
    )
    state: Text = Field(
        default="",
        repr=False,
        description="Where spend and target shares survive a restart: a file of SQLite, or `postgresql://...` for "
        "gateways on several machines (extra `postgres`). Empty: they do not.",
    )
    recovery: Literal["reserved", "counted"] = Field(
        default="reserved",
        description="What requests are charged whose process ended without settling them (kill -9): all that they had "
        "reserved, or what was `counted` up to a tenth of a second before.",
    )
    record: Text = Field(default="", description="Folder for traces. Empty: none are written.")
    record_mb: Number = Field(default=64.0, gt=0, description="Megabytes at which a new trace file is begun.")
    recent_requests: Flag = Field(
        default=False,
        description="Whether a gateway without keys shows everybody everybody's latest questions and the spend, at "
        "`/v1/trim/recent` and on its page. With keys, each key sees its own.",
    )
    expose_upstream_errors: Flag = Field(
        default=False,
        description="Whether clients and `/readyz` are told addresses of models and what their servers say of a "
        "failure, for a gateway that is yours alone. The log says it in any case.",
    )
    log_questions: Flag = Field(default=False, description="Whether questions are written into the log.")
    breaker_failures: Whole = Field(
        default=5, ge=0, description="Failures in a row that open a backend's circuit: it is not asked for a while."
    )
    breaker_cooldown: Number = Field(
        default=1.0,
        ge=0,
        description="Seconds between two trials of a backend with an open circuit, each a request for one token.",
    )

    def spend_targets(self) -> dict[int, float]:
        """Target spends, by the hours that they are for."""
        given = {1: self.target_spend_per_hour, 24: self.target_spend_per_day}
        return {hours: target for hours, target in given.items() if target is not None}


# Nominal prices of the embedded models, per million tokens: strong costs twenty times weak, prompts a quarter of
# what is written and a tenth of that where cached, as on common price lists; the PRM reads at the weak model's price.
_WEAK_PRICE = PriceSettings(0.02, 0.08, 0.002)
_STRONG_PRICE = PriceSettings(0.4, 1.6, 0.04)
_PRM_PRICE = PriceSettings(0.02)


@dataclass(frozen=True, config=_TABLE)
class Config(metaclass=_Table):
    """Everything that a run needs to know about models and limits."""

    weak: ModelSettings = Field(
        default_factory=lambda: ModelSettings(prices=_WEAK_PRICE), description="The weak model: it drafts every step."
    )
    strong: ModelSettings = Field(
        default_factory=lambda: ModelSettings(prices=_STRONG_PRICE),
        description="The strong model: it writes the steps that the policy does not leave to the weak one.",
    )
    prm: PrmSettings = Field(
        default_factory=lambda: PrmSettings(prices=_PRM_PRICE), description="The judge: it scores every step."
    )
    policy: PolicySettings = Field(default_factory=PolicySettings, description="What decides about each draft.")
    budget: BudgetSettings = Field(default_factory=BudgetSettings, description="Hard caps per question.")
    generation: GenerationSettings = Field(default_factory=GenerationSettings, description="How solutions are written.")
    serve: ServeSettings = Field(default_factory=ServeSettings, description="The gateway.")

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        """What no key by itself can be wrong about."""
        for role, settings in self.roles().items():
            if self._needs_address(settings):
                for key in ("base_url", "model"):
                    if not getattr(settings, key):
                        raise broken_rule(f"{settings.backend!r} needs {key}", role, "backend")
                if not settings.base_url.startswith(("http://", "https://")):
                    words = f"{settings.base_url!r} must begin with http:// or https://"
                    raise broken_rule(words, role, "base_url")
            if settings.backend in (*IN_PROCESS, AUTO) and settings.base_url:
                words = "the embedded backend has no address; set backend to the kind of its server"
                raise broken_rule(words, role, "base_url")
            if settings.on_error == role:
                raise broken_rule(f"it cannot be {role!r}: that is the role that failed", role, "on_error")
        self._check_gguf()
        self._check_worlds()
        self._check_judge()
        serve = self.serve
        target = "target_spend_per_hour" if serve.target_spend_per_hour is not None else "target_spend_per_day"
        if serve.spend_targets() and serve.target_strong_share is not None:
            words = "the policy's parameter can hold this or target_strong_share, not both"
            raise broken_rule(words, "serve", target)
        self._check_money()
        if serve.spend_targets() and not self.strong.prices.completion:
            raise broken_rule("a target spend needs [strong.prices] completion", "serve", target)
        if serve.pass_through:
            self._check_pass_through()
        self._check_policy()
        return self

    def _needs_address(self, settings: ModelSettings | PrmSettings) -> bool:
        """Whether a model is on a server of its own."""
        if isinstance(settings, ModelSettings):
            return settings.backend in PRESETS.keys() - IN_PROCESS
        family = JUDGES.get(settings.backend)
        if family is None or not family.keys or is_gguf(settings.model):
            return False
        return bool(settings.base_url or not (family.local or self.judging_role()))

    def judging_role(self) -> Role | None:
        """The role whose model judges; None: the judge has a model of its own."""
        prm = self.prm
        served, told = bool(self.served_roles()), self.tells_logprobs()
        return judging_role(prm.backend, prm.model, prm.base_url, served=served, told=told)

    def judge_kind(self) -> str:
        """`[prm] backend`, with `auto` resolved."""
        prm, role = self.prm, self.judging_role()
        served = role is not None and self.roles()[role].backend != "embedded"
        return judge_kind(prm.backend, prm.model, role, served=served, told=self.tells_logprobs())

    def tells_logprobs(self) -> bool:
        """Whether the weak model's server gives log-probabilities with its drafts."""
        kind = self.weak.backend
        return kind in PRESETS.keys() - {"embedded"} and gives_logprobs(kind)

    def _check_worlds(self) -> None:
        """The shipped models know their own three tasks only: none works with a model that was not made with it."""
        served = self.served_roles()
        if not served:
            return
        other = self.roles()[served[0]]
        for role in ("weak", "strong"):
            if self.roles()[role].backend == "embedded":
                words = f"the shipped model does not work with {other.backend}/{other.model} as [{served[0]}]"
                raise broken_rule(f"{words}: write [{role}] model = 'KIND/MODEL', or --{role}", role, "model")
        prm, role_of = self.prm, self.judging_role()
        kind = self.judge_kind()
        if role_of is None and not prm.base_url and kind in JUDGES and JUDGES[kind].local and kind != FITTED:
            named = f"the shipped judge {kind!r} does not know what {other.backend}/{other.model} writes"
            key = "backend" if prm.backend != AUTO else "model"
            advice = "write [prm] model = 'strong', or 'KIND/MODEL' of another judge, or leave [prm] out"
            raise broken_rule(f"{named}: {advice}", "prm", key)

    def served_roles(self) -> tuple[str, ...]:
        """Of the weak and the strong model those that are neither shipped ones nor classes of the user's own."""
        models = {"weak": self.weak, "strong": self.strong}
        return tuple(role for role, model in models.items() if model.backend in PRESETS.keys() - {"embedded"})

    def _check_gguf(self) -> None:
        """Whether a GGUF file is named where it must be, and its keys have an effect."""
        for role, model in (("weak", self.weak), ("strong", self.strong)):
            if model.backend == "gguf":
                if not model.model:
                    raise broken_rule("'gguf' needs model: a GGUF file, or hf:OWNER/REPO:QUANT", role, "backend")
                continue
            for key, value in (("slots", model.slots), ("threads", model.threads)):
                if value is not None:
                    raise broken_rule(f"it has no effect with {model.backend!r}; it is for 'gguf'", role, key)
            if model.context is not None and model.backend == "embedded":
                raise broken_rule("it has no effect with 'embedded'", role, "context")

    def _check_judge(self) -> None:
        """Whether every key of `[prm]` that is set has an effect; a class of the user's own is given all of them."""
        prm, role = self.prm, self.judging_role()
        served = bool(prm.base_url) or (role is not None and self.roles()[role].backend != "embedded")
        served = served or is_gguf(prm.model)
        family = JUDGES.get(self.judge_kind())
        for path, field in fields(PrmSettings).items():
            value: object = prm
            for name in path:
                value = vars(value)[name]
            if table_of(field) is not None or value == field.get_default(call_default_factory=True):
                continue
            key = ".".join(path)
            if family is not None and not family.takes(key, served=served):
                where = " without an address" if family.local and not served else ""
                words = f"it has no effect with the judge {family.name!r}{where}; it is for {takers(key)}"
                raise broken_rule(words, "prm", *path)
        if family is not None and prm.context is not None and not prm.tokenizer:
            raise broken_rule("it needs tokenizer, to count with", "prm", "context")

    def _check_pass_through(self) -> None:
        """What is passed through needs a server that knows it, and a way to cap what it costs."""
        backend = self.strong.backend
        if backend in ("embedded", "gguf") or backend not in LISTED_BACKENDS:
            words = "it needs a [strong] server with OpenAI's API, not a model in this process"
            raise broken_rule(words, "serve", "pass_through")
        if self.budget.max_cost is not None:
            words = "it cannot be held to [budget] max_cost; use max_strong_tokens"
            raise broken_rule(words, "serve", "pass_through")

    def _check_money(self) -> None:
        """A limit in dollars cannot be held where a price is not known."""
        limits = [
            (table, key)
            for table, settings in (("budget", self.budget), ("serve", self.serve))
            for key in ("max_cost", "spend_per_hour", "spend_per_day", "target_spend_per_hour", "target_spend_per_day")
            if vars(settings).get(key) is not None
        ]
        models = Prices(self.weak.prices.known(), self.strong.prices.known(), Price(0.0))  # the judge's: in `resolve`
        if limits and models.missing:
            words = f"it needs every price, and {models.missing[0]} is not set (0 is a price)"
            raise broken_rule(words, *limits[0])

    def _check_policy(self) -> None:
        """Whether there is such a policy with such a parameter; what files hold is seen when they are opened."""
        name, parameter = self.policy.name, self.policy.parameter
        if name.endswith(".json"):
            if parameter is not None or self.policy.path:
                raise broken_rule(f"{name} says parameter and path itself; leave them out", "policy", "name")
            return
        spec = PolicySpec.parse(name)
        for key, given in (("name", None), ("parameter", parameter)):
            try:
                check(spec, given)
            except ConfigError as error:
                raise broken_rule(str(error), "policy", key) from None
        if spec.resamples >= self.generation.max_drafts:
            words = f"{name!r} needs [generation] max_drafts of at least {spec.resamples + 1}"
            raise broken_rule(words, "policy", "name")

    def roles(self) -> dict[str, ModelSettings | PrmSettings]:
        """Settings by role."""
        return {"weak": self.weak, "strong": self.strong, "prm": self.prm}

    def instructed(self, instruction: str) -> Config:
        """Tell models that have no system prompt how a task wants its answers; the shipped ones take none."""

        def with_instruction(settings: ModelSettings) -> ModelSettings:
            takes = instruction and not settings.system and settings.backend != "embedded"
            return replace(settings, system=instruction) if takes else settings

        return replace(self, weak=with_instruction(self.weak), strong=with_instruction(self.strong))
