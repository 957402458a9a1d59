"""Judges without training: how confident a causal model is of a given step.

`log-probability` is the geometric mean of the step's token probabilities (STEER's confidence, arXiv 2511.06190),
`entropy` the certainty about its first token, exp(-H) with H in nats (GlimpRouter, 2026). One prefill, no
decoding; on a server that means `/completions` with `echo` and `logprobs`. With the weak model's own address this is
the weak model's own uncertainty; a larger model is a better judge. Scores are not calibrated: see
`trim eval-prm --recalibrate`.
"""

from __future__ import annotations

from math import exp
from typing import Literal

from trim.errors import BadResponse
from trim.scoring.embedded_logprobs import EmbeddedLogprobs
from trim.scoring.prompt_logprobs import LogprobJudge, LogprobSource, open_server
from trim.scoring.registry import JudgeSettings
from trim.steps import StepFormat
from trim.types import Question, Scores

Evidence = Literal["log-probability", "entropy"]


class ConfidenceJudge(LogprobJudge):
    """A `Judge` from a causal model's certainty.

    Args:
        source: gives log-probabilities and entropies; `EmbeddedLogprobs` and `OpenAILogprobs` are some.
        evidence: which of the two is the score.
    """

    def __init__(self, source: LogprobSource, evidence: Evidence) -> None:
        super().__init__(evidence, source)
        self.evidence = evidence

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """A certainty in [0, 1] per step. `Scores.tokens` are those of the steps, for `entropy` one a step.

        Raises:
            BackendError: the source failed, or gave another number of steps.
        """
        if self.evidence == "entropy":
            values = tuple(exp(-entropy) for entropy in await self.source.first_token_entropies(question, steps))
            tokens = [1] * len(values)
        else:
            logprobs = await self.logprobs(question, steps)
            values = tuple(exp(sum(step) / len(step)) for step in logprobs)
            tokens = [*map(len, logprobs)]
        if len(values) != len(steps):
            raise BadResponse(self.identity, f"{len(values)} values for {len(steps)} steps")
        return self.scores((min(value, 1.0) for value in values), tokens)


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> ConfidenceJudge:
    """The judge that `[prm]` describes: over a server's model or, without an address, an embedded one.

    Raises:
        ConfigError: there is no such model or template.
    """
    served = bool(settings.base_url)
    source = open_server(settings, api_key, step_format) if served else EmbeddedLogprobs(settings.model)
    return ConfidenceJudge(source, "entropy" if settings.backend == "entropy" else "log-probability")
