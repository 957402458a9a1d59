"""The table of judges that a configuration names, with the keys of `[prm]` that each takes. A new one is a class in a
file and a row here.

`opener` names a function of (`JudgeSettings`, API key or None, `StepFormat`) that gives the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from trim import plugins
from trim.backends.request_extras import RequestExtras
from trim.protocols import Judge
from trim.steps import StepFormat


class JudgeSettings(Protocol):
    """What a judge is opened from; `trim.config.specs.JudgeSpec` has all of it."""

    @property
    def backend(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def template(self) -> str: ...
    @property
    def tokenizer(self) -> str | None: ...
    @property
    def system(self) -> str | None: ...
    @property
    def context(self) -> int | None: ...
    @property
    def step_mark(self) -> str: ...
    @property
    def raw_logits(self) -> bool: ...
    @property
    def timeout(self) -> float: ...
    @property
    def retries(self) -> int: ...
    @property
    def omit(self) -> tuple[str, ...]: ...
    @property
    def extra_body(self) -> str: ...
    @property
    def headers(self) -> str: ...


EVERY = frozenset({"backend", "model", "recalibration", "on_error", "prices.prompt"})
"""Keys of `[prm]` that every judge takes; a class of the user's own is given all others too."""

_SERVER = frozenset({"base_url", "api_key_env", "timeout", "retries", "omit", "extra_body", "headers"})
_TEXT = _SERVER | {"template", "system", "tokenizer", "context", "prices.cached"}
_ASKED = _SERVER | {"system", "prices.cached", "prices.completion"}

_READS = "a call that reads the solution, all but the new step from the server's cache"
_ANSWERS = f"{_READS}, and writes an answer"
_MEASURE = "not known: measure it with trim eval-prm"
_COIN = "a 1.5B model was a coin (step AUROC 0.52, docs/results/judges.md)"


@dataclass(frozen=True)
class JudgeFamily:
    """A row of the table.

    Args:
        name: `[prm] backend`.
        summary: in a few words.
        opener: what opens it, `module:function`.
        local: the shipped model that it reads in this process where no address is given; empty: it needs a server.
        keys: of `[prm]`, those that it takes with an address, beside `EVERY`.
        known: how good it is known to be, and where from.
        per_step: what it takes for a step, in words.
    """

    name: str
    summary: str
    opener: str
    local: str = ""
    keys: frozenset[str] = frozenset()
    known: str = _MEASURE
    per_step: str = _READS

    def takes(self, key: str, *, served: bool) -> bool:
        """Whether this key of `[prm]` has an effect; `served`: there is an address."""
        return key in EVERY or (served and key in self.keys)


def extras_of(settings: JudgeSettings) -> RequestExtras:
    """What a judge's requests say and carry besides."""
    return RequestExtras.read(settings.omit, settings.extra_body, settings.headers)


_HERE = "trim.scoring"

JUDGES: Mapping[str, JudgeFamily] = {
    family.name: family
    for family in (
        JudgeFamily(
            "embedded",
            "the shipped PRM",
            f"{_HERE}.embedded_prm:open_judge",
            "prm",
            known="step AUROC 0.998 on the shipped weak model's word problems (docs/results/judges.md)",
            per_step="the new step is read in this process",
        ),
        JudgeFamily("likelihood", "the least likely token of a step", f"{_HERE}.likelihood:open_judge", "judge", _TEXT),
        JudgeFamily("log-probability", "mean token probability", f"{_HERE}.confidence:open_judge", "weak", _TEXT),
        JudgeFamily("entropy", "certainty about a step's first token", f"{_HERE}.confidence:open_judge", "weak", _TEXT),
        JudgeFamily(
            "vllm",
            "a PRM on a vLLM server",
            f"{_HERE}.vllm_prm:open_judge",
            keys=_TEXT - {"omit", "extra_body"} | {"step_mark", "raw_logits"},
        ),
        *(
            JudgeFamily(name, summary, f"{_HERE}.llm_judge:open_judge", keys=_ASKED, known=known, per_step=_ANSWERS)
            for name, summary, known in (
                ("yes-no", "a language model asked yes or no", f"{_MEASURE}; {_COIN}"),
                ("grade", "a language model asked for a grade of 0 to 9", _MEASURE),
                ("typed", "a language model asked for JSON", _MEASURE),
            )
        ),
        JudgeFamily(
            "fitted",
            "a regression on the log-probabilities of drafts",
            f"{_HERE}.fitted:open_judge",
            "generic",
            per_step="no further call",
        ),
    )
}
"""All of them by name."""


def takers(key: str) -> str:
    """The judges that take a key of `[prm]`, in words."""
    families = [family for family in JUDGES.values() if key in family.keys]
    always = ", ".join(f"`{family.name}`" for family in families if not family.local)
    served = ", ".join(f"`{family.name}`" for family in families if family.local)
    return " and ".join(filter(None, (always, served and f"with an address {served}")))


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> Judge:
    """The judge that settings name: one of the table, or a class of the user's own, which gets the settings.

    Raises:
        ConfigError: no such judge or model, or a class that is not a judge.
    """
    name = settings.backend
    if name not in JUDGES:
        own = plugins.SCORERS.make(name, settings)
        plugins.require_members(own, Judge, f"[prm] backend {name}")
        return cast("Judge", own)
    opener = plugins.attribute(JUDGES[name].opener, "judge")
    return cast("Callable[[JudgeSettings, str | None, StepFormat], Judge]", opener)(settings, api_key, step_format)
