"""What is said of the judge of a configuration: which one, why, how good it is known to be, and what a step costs."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass

from trim.config.judge_names import ASKED, AUTO, FITTED
from trim.config.judges import judge_for, score_at
from trim.config.settings import Config
from trim.policies.registry import FLAGGED
from trim.scoring.fitted import fitted_model
from trim.scoring.fitted_model import FittedModel
from trim.scoring.registry import JUDGES
from trim.types import Role

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
        threshold: of policies where none is set, if it follows from the judge.
    """

    judge: str
    why: str
    known: str
    per_step: str
    warning: str = ""
    threshold: str = ""

    def __str__(self) -> str:
        lines = [f"judge: {self.judge} ({self.why})", f"  quality: {self.known}", f"  per step: {self.per_step}"]
        lines += [f"  threshold: {self.threshold}"] if self.threshold else []
        return "\n".join(textwrap.fill(line, 79, subsequent_indent="    ") for line in lines)

    @property
    def short(self) -> str:
        """Which judge and how good it is known to be, in a line."""
        return f"{self.judge}; {self.known}"

    def conditions(self) -> dict[str, object]:
        """As it stands beside results."""
        values: dict[str, object] = asdict(self)
        del values["warning"], values["threshold"]
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
    if judge := fitted_model(settings.backend, settings.model):
        return _fitted_note(config, judge, why)
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


def _fitted_note(config: Config, judge: FittedModel, why: str) -> JudgeNote:
    """What is said of a fitted judge."""
    family, warning = JUDGES[FITTED], ""
    weak = config.weak.model or Role.WEAK.value
    if not judge.for_model(weak) and "*" not in judge.models:
        warning = (
            f"judge {judge.name} was fitted on drafts of {' and '.join(judge.models)}, not of "
            f"{weak}: its scores may mean nothing; trim fit judge fits one"
        )
    threshold = score_at(config, FLAGGED)
    words = f"{threshold:.2f} unless one is set: {FLAGGED:.0%} of the labelled steps score lower"
    return JudgeNote(f"{judge.name}, {family.summary}", why, judge.known(), family.per_step, warning, words)
