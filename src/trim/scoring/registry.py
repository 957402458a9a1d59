"""The table of judges that a configuration names. A new one is a class in a file and a row here.

`opener` names a function of (`JudgeSettings`, API key or None, `StepFormat`) that gives the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from trim import plugins
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
    def step_mark(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def retries(self) -> int: ...


@dataclass(frozen=True)
class JudgeFamily:
    """A row of the table.

    Args:
        name: `[prm] backend`.
        summary: in a few words.
        opener: what opens it, `module:function`.
        local: the shipped model that it reads in this process where no address is given; empty: it needs a server.
    """

    name: str
    summary: str
    opener: str
    local: str = ""


JUDGES: Mapping[str, JudgeFamily] = {
    family.name: family
    for family in (
        JudgeFamily("embedded", "the shipped PRM", "trim.scoring.embedded_prm:open_judge", "prm"),
        JudgeFamily("likelihood", "the least likely token of a step", "trim.scoring.likelihood:open_judge", "judge"),
        JudgeFamily("log-probability", "mean token probability", "trim.scoring.confidence:open_judge", "weak"),
        JudgeFamily("entropy", "certainty about a step's first token", "trim.scoring.confidence:open_judge", "weak"),
        JudgeFamily("vllm", "a PRM on a vLLM server", "trim.scoring.vllm_prm:open_judge"),
        JudgeFamily("yes-no", "a language model asked yes or no", "trim.scoring.llm_judge:open_judge"),
        JudgeFamily("grade", "a language model asked for a grade of 0 to 9", "trim.scoring.llm_judge:open_judge"),
        JudgeFamily("typed", "a language model asked for JSON", "trim.scoring.llm_judge:open_judge"),
    )
}
"""All of them by name."""


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
