"""Labelled solutions in a file, read by the weak model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trim.config.factory import open_prm
from trim.config.local_models import serving
from trim.config.resolution import resolve
from trim.config.settings import Config, PrmSettings
from trim.experiments.labelled_solutions import LabelledSolution
from trim.scoring.prompt_logprobs import LogprobJudge
from trim.types import Question, Role


async def read_logprobs(config: Config, solutions: Sequence[LabelledSolution]) -> list[tuple[tuple[float, ...], ...]]:
    """The log-probabilities that the weak model gives to the tokens of each step, by solution.

    Raises:
        BackendError: the model failed, or its server tells nothing of given text.
        ConfigError: it is a class of the user's own.
    """
    asking = replace(config, prm=PrmSettings("log-probability", Role.WEAK.value))
    async with serving(resolve(asking), judge_only=True):
        judge = open_prm(asking)
        try:
            assert isinstance(judge, LogprobJudge)
            return [await judge.logprobs(Question(one.problem), one.steps) for one in solutions]
        finally:
            await judge.aclose()
