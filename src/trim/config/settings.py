"""Settings from a TOML file, and the composition of everything that they name.

    [weak]                                  # [strong] and [prm] likewise
    backend = "vllm"                        # or embedded, sglang, llama-server, openai, ...; prm: vllm, likelihood
    base_url = "http://127.0.0.1:8001/v1"
    model = "weak"

Without a file: the embedded pair. Every key is checked; what is unknown or out of range is refused by name.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from trim.baselines import STEP_LEVEL, build_step_level, step_sweep
from trim.config.serve import ServeSettings
from trim.errors import ConfigError
from trim.policies import SAVED, PolicySpec, build, shipped, sweep
from trim.protocols import Policy
from trim.routing.router import Limits
from trim.steps import Separator, StepFormat
from trim.types import Price, Prices, Sampling

if TYPE_CHECKING:
    from trim.policies.learned.policy import LearnedPolicy
    from trim.policies.pomdp import PomdpPolicy

T = TypeVar("T")

_CAUSAL = {"likelihood": "judge", "log-probability": "weak", "entropy": "weak"}
"""Scorers that read any causal model's token probabilities, and the shipped model that they read without an address."""


@dataclass(frozen=True)
class PriceSettings:
    """Money per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0
    cached: float | None = None


@dataclass(frozen=True)
class ModelSettings:
    """A generator: `[weak]` or `[strong]`."""

    backend: Literal[
        "embedded",
        "vllm",
        "sglang",
        "llama-server",
        "llama-cpp-python",
        "transformers",
        "mistral",
        "deepseek",
        "openrouter",
        "openai",
        "generic",
    ] = "embedded"
    model: str = ""  # the server's name for it; for `embedded` a shipped model or a folder; empty: the shipped one
    base_url: str = ""
    api_key_env: str = ""  # the environment variable that holds the key, never the key itself
    continuation: Literal["completions", "chat", "instruct"] = "completions"
    template: str = "chatml"  # a family, or a folder with the model's tokenizer files
    tokenizer: str = ""  # a folder with tokenizer.json, for servers that don't count tokens
    system: str = ""
    timeout: float = 60.0
    retries: int = 3
    on_error: Literal["raise", "weak", "strong"] = "raise"
    prices: PriceSettings = field(default_factory=PriceSettings)


@dataclass(frozen=True)
class PrmSettings:
    """The process reward model: `[prm]`."""

    backend: Literal["embedded", "likelihood", "log-probability", "entropy", "vllm", "yes-no", "grade", "typed"] = (
        "embedded"
    )
    model: str = ""  # for token probabilities: a causal model; empty: the shipped judge (`likelihood`) or weak model
    base_url: str = ""
    api_key_env: str = ""
    template: str = "chatml"
    tokenizer: str = ""
    system: str = ""
    step_mark: str = "<extra_0>"
    recalibration: str = ""  # a curve that `trim eval-prm --recalibrate` wrote
    timeout: float = 60.0
    retries: int = 3
    on_error: Literal["raise", "weak", "strong"] = "raise"
    prices: PriceSettings = field(default_factory=PriceSettings)


@dataclass(frozen=True)
class PolicySettings:
    """`[policy]`: what `trim solve` uses unless the command line says otherwise."""

    name: str = "threshold"  # or threshold+2, see `trim.policies`; or a .json that `trim calibrate` wrote
    parameter: float | None = None  # None: 0.5 where the policy has one; saved ones: the price they were saved with
    path: str = ""  # pomdp, agg, seq: the folder of the saved policy; empty: the one shipped for the embedded models


@dataclass(frozen=True)
class BudgetSettings:
    """`[budget]`: hard caps per question."""

    max_strong_tokens: int | None = None
    max_cost: float | None = None


@dataclass(frozen=True)
class GenerationSettings:
    """`[generation]`: how solutions are written."""

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    max_steps: int = 30
    max_step_tokens: int = 256
    separator: Literal["blank-line", "newline", "numbered", "sentence"] = "blank-line"
    lookahead: int = 1
    max_drafts: int = 5


# Nominal prices of the embedded models, per million tokens: strong costs twenty times weak, prompts a quarter of
# what is written and a tenth of that where cached, as on common price lists; the PRM reads at the weak model's price.
_WEAK_PRICE = PriceSettings(0.02, 0.08, 0.002)
_STRONG_PRICE = PriceSettings(0.4, 1.6, 0.04)
_PRM_PRICE = PriceSettings(0.02)


@dataclass(frozen=True)
class Config:
    """Everything that a run needs to know about models and limits."""

    weak: ModelSettings = field(default_factory=lambda: ModelSettings(prices=_WEAK_PRICE))
    strong: ModelSettings = field(default_factory=lambda: ModelSettings(prices=_STRONG_PRICE))
    prm: PrmSettings = field(default_factory=lambda: PrmSettings(prices=_PRM_PRICE))
    policy: PolicySettings = field(default_factory=PolicySettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)

    def __post_init__(self) -> None:
        for role, settings in self.roles().items():
            if settings.backend != "embedded" and (settings.backend not in _CAUSAL or settings.base_url):
                for key in ("base_url", "model"):
                    if not getattr(settings, key):
                        raise ConfigError(f"[{role}] backend {settings.backend!r} needs {key}")
                if not settings.base_url.startswith(("http://", "https://")):
                    raise ConfigError(f"[{role}] base_url {settings.base_url!r} must begin with http:// or https://")
            if settings.timeout <= 0 or settings.retries < 0:
                raise ConfigError(f"[{role}] timeout must be above 0 and retries at least 0")
            prices = settings.prices
            if not all(price >= 0 for price in (prices.prompt, prices.completion, prices.cached or 0)):
                raise ConfigError(f"[{role}.prices] must be 0 or more")
            if settings.on_error == role:
                raise ConfigError(f"[{role}] on_error cannot be {role!r}: that is the role that failed")
        g = self.generation
        if not (g.temperature >= 0 and 0 < g.top_p <= 1 and g.top_k >= 0 and g.max_step_tokens > 0):
            raise ConfigError(
                "[generation] temperature and top_k must be 0 or more, top_p in (0, 1], max_step_tokens > 0"
            )
        for key in ("max_strong_tokens", "max_cost"):
            if not (getattr(self.budget, key) or 0) >= 0:
                raise ConfigError(f"[budget] {key} must be 0 or more")
        if self.serve.spend_targets() and not self.strong.prices.completion > 0:
            raise ConfigError("[serve] a target_spend needs [strong.prices] completion")
        if self.serve.pass_through:
            self._check_passing()
        self.limits()
        if self.policy.name.endswith(".json"):
            object.__setattr__(self, "policy", self._calibrated())
        if PolicySpec.parse(self.policy.name).family not in SAVED:
            self.build_policy()

    def _check_passing(self) -> None:
        """What is passed through needs a server that knows it, and can be paid for."""
        from trim.backends.capabilities import capabilities

        backend = self.strong.backend
        if backend == "embedded":
            raise ConfigError("[serve] pass_through needs a [strong] server with OpenAI's API, not the embedded model")
        if not capabilities(backend).usage:
            raise ConfigError(f"[serve] pass_through: {backend} does not count the tokens of a stream")
        if self.budget.max_cost is not None:
            raise ConfigError("[serve] pass_through cannot be held to [budget] max_cost; use max_strong_tokens")

    def roles(self) -> dict[str, ModelSettings | PrmSettings]:
        """Settings by role."""
        return {"weak": self.weak, "strong": self.strong, "prm": self.prm}

    def build_policy(self, name: str | None = None, parameter: float | None = None) -> Policy:
        """The configured policy, or another one: `NAME`, `NAME+WAY` or `NAME=FOLDER` (see `trim.policies.PolicySpec`),
        or a `FILE.json` that `trim calibrate` wrote.

        Raises:
            ConfigError: unknown, its parameter is wrong, or it was fitted for other models.
        """
        if name and name.endswith(".json"):
            return replace(self, policy=PolicySettings(name, parameter)).build_policy()
        chosen = name or self.policy.name
        if parameter is None and chosen == self.policy.name:
            parameter = self.policy.parameter
        spec = PolicySpec.parse(chosen)
        if spec.resamples >= self.generation.max_drafts:
            raise ConfigError(f"policy {chosen!r} needs [generation] max_drafts of at least {spec.resamples + 1}")
        if spec.family in SAVED:
            saved = self._load(spec)
            return saved if parameter is None else saved.at(parameter)
        if chosen in STEP_LEVEL:
            return build_step_level(chosen, parameter)
        if parameter is None and spec.family in ("threshold", "random"):
            parameter = 0.5
        return build(chosen, parameter)

    def build_sweep(self, name: str, parameters: tuple[float | None, ...] | None = None) -> list[Policy]:
        """A policy at each of these parameters; None: at those that an evaluation tries by default."""
        if name.endswith(".json"):
            return [self.build_policy(name)]
        if (spec := PolicySpec.parse(name)).family in SAVED:
            saved = self._load(spec)
            return [saved.at(price) for price in parameters or saved.prices() if price is not None]
        defaults = step_sweep(name) if name in STEP_LEVEL else sweep(name)
        return [self.build_policy(name, parameter) for parameter in parameters or defaults]

    def _calibrated(self) -> PolicySettings:
        """What the file says that the policy's name points to."""
        from trim.policies.artifacts import CalibratedPolicy, Models

        if self.policy.parameter is not None or self.policy.path:
            raise ConfigError(f"[policy] {self.policy.name} says parameter and path itself; leave them out")
        found = CalibratedPolicy.load(Path(self.policy.name), Models(**self.names()))
        return PolicySettings(found.name, found.parameter, found.folder)

    def _load(self, spec: PolicySpec) -> PomdpPolicy | LearnedPolicy:
        """A saved policy that was made for these models."""
        from trim.policies.artifacts import Models
        from trim.policies.learned.policy import KINDS, LearnedPolicy
        from trim.policies.pomdp import PomdpPolicy

        own = self.policy.path if spec.family == PolicySpec.parse(self.policy.name).family else ""
        folder = spec.folder or own or shipped(spec.family)
        models = Models(**self.names())
        kind = next((kind for kind in KINDS if kind == spec.family), None)
        if kind is None:
            return PomdpPolicy.load(Path(folder), models=models).with_options(spec)
        if spec.options or spec.resamples:
            raise ConfigError(f"policy {spec.name!r}: {kind} has no ways, it does what it was trained for")
        return LearnedPolicy.load(Path(folder), kind=kind, models=models)

    def limits(self, max_tokens: int | None = None) -> Limits:
        """Limits of one solution."""
        g = self.generation
        return Limits(g.max_steps, g.max_drafts, g.lookahead, max_tokens)

    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        g = self.generation
        return Sampling(g.temperature, g.top_p, g.top_k, g.max_step_tokens)

    def form(self) -> StepFormat:
        """How solutions are cut into steps."""
        return StepFormat(Separator(self.generation.separator))

    def prices(self) -> Prices:
        """What tokens cost."""
        weak, strong, prm = (
            Price(p.prompt, p.completion, p.cached) for p in (self.weak.prices, self.strong.prices, self.prm.prices)
        )
        return Prices(weak, strong, prm)

    def instructed(self, instruction: str) -> Config:
        """Tell models that have no system prompt how a task wants its answers; the shipped ones take none."""

        def told(settings: ModelSettings) -> ModelSettings:
            takes = instruction and not settings.system and settings.backend != "embedded"
            return replace(settings, system=instruction) if takes else settings

        return replace(self, weak=told(self.weak), strong=told(self.strong))

    def names(self) -> dict[str, str]:
        """What the models are called, for results and reports; local ones with a fingerprint of their weights."""
        names = {}
        for role, settings in self.roles().items():
            if settings.base_url:
                names[role] = f"{settings.backend}:{settings.model} at {settings.base_url}"
            else:
                from trim.backends.onnx import fingerprint

                name = settings.model or _CAUSAL.get(settings.backend, role)
                names[role] = f"{settings.backend}:{name}@{fingerprint(name)}"
        if self.prm.recalibration:
            names["prm"] += f" through {Path(self.prm.recalibration).name}"
        return names


def load_config(path: Path | None) -> Config:
    """Read a TOML file; None gives the embedded pair.

    Raises:
        ConfigError: unreadable, an unknown table or key, a wrong type or value; says which and where.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text("utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from None
    try:
        return _build(Config, values, "")
    except ConfigError as error:
        raise ConfigError(f"{path}{_line_of(text, str(error))}: {error}") from None


def _line_of(text: str, message: str) -> str:
    """`:7` if the message names a table and a key that stand on line 7."""
    table, _, rest = message.partition("] ")
    words = [word.strip("'\",;:") for word in rest.split()]
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = stripped.strip("[] ")
            if f"[{current}]" == rest or (not rest and current in message):
                return f":{number}"
        elif current == table.strip("["):
            key = stripped.split("=")[0].strip()
            if key and key in words:
                return f":{number}"
    return ""


def _build(kind: type[T], values: dict[str, Any], where: str) -> T:
    """A dataclass from a TOML table, every key and type checked."""
    hints = get_type_hints(kind)
    known: dict[str, Field[Any]] = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"[{where}] unknown key {key!r}; {hint}" if where else f"unknown table [{key}]; {hint}")
        arguments[key] = _check(hints[key], value, f"{where}.{key}" if where else key)
    missing = [k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING and k not in values]
    assert not missing
    return kind(**arguments)


def _check(hint: Any, value: Any, where: str) -> Any:
    """The value, if it is of the type."""
    table, _, key = where.rpartition(".")
    named = f"[{table}] {key}" if table else where
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table: [{where}]")
        return _build(hint, value, where)
    if origin is Literal:
        if value not in arguments:
            near = difflib.get_close_matches(str(value), arguments, 1)
            raise ConfigError(
                f"{named} = {value!r} is not one of {', '.join(map(repr, arguments))}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return value
    if origin in (Union, UnionType):
        hint = next(a for a in arguments if a is not NoneType)
    wanted = (int, float) if hint is float else (hint,)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, wanted):
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise ConfigError(f"{named} = {value!r} must be {names[hint]}")
    return float(value) if hint is float else value
