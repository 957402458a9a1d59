"""What is said of the judge of a configuration: which one, why, how good it is known to be, and what a step costs."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass

from trim.config.judge_names import ASKED, AUTO, FITTED
from trim.config.judges import judge_for
from trim.config.settings import Config
from trim.scoring.fitted import FittedModel, file_of
from trim.scoring.registry import JUDGES

_UNKNOWN = "not known: measure it with trim eval-prm"


@dataclass(frozen=True)
class JudgeNote:
    """A judge in words.

    Args:
        judge: which one.
        why: what chose it.
        known: how good it is known to be, and from what.
        per_step: what it takes for a step.
        warning: what should be done about it; empty: nothing.
    """

    judge: str
    why: str
    known: str
    per_step: str
    warning: str = ""

    def __str__(self) -> str:
        lines = (f"judge: {self.judge} ({self.why})", f"  quality: {self.known}", f"  per step: {self.per_step}")
        return "\n".join(textwrap.fill(line, 79, subsequent_indent="    ") for line in lines)

    def conditions(self) -> dict[str, object]:
        """As it stands beside results."""
        values: dict[str, object] = asdict(self)
        del values["warning"]
        return values


def judge_note(config: Config) -> JudgeNote:
    """What is said of its judge.

    Raises:
        ConfigError: a fitted judge's file cannot be read, or no judge can be chosen.
    """
    settings = judge_for(config)
    family = JUDGES.get(settings.backend)
    auto = config.prm.backend == AUTO and not config.prm.model
    why = "no [prm]" if auto else "as configured"
    if family is None:
        return JudgeNote(settings.backend, why, _UNKNOWN, "as your class says")
    if family.name == FITTED:
        judge = FittedModel.load(file_of(settings.model))
        return JudgeNote(f"{judge.name}, {family.summary}", why, judge.known(), family.per_step)
    judge_name = f"{family.name}, {family.summary}"
    if settings.model and family.name != "embedded":
        judge_name += f": {settings.model}"
    warning = ""
    if auto and family.name == ASKED:
        warning = (
            f"no [prm], and {config.weak.backend} gives no log-probabilities: the strong model is asked about each "
            "step; a PRM, or a weak model behind vLLM, SGLang or llama.cpp, judges better"
        )
    return JudgeNote(judge_name, why, family.known, family.per_step, warning)
