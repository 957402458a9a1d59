"""Process reward models for people without one: how sure a causal model is of a step that is there.

`log-probability` is the geometric mean of the step's token probabilities (STEER's confidence, arXiv 2511.06190),
`entropy` the certainty about its first token, exp(-H) with H in nats (GlimpRouter's hesitation, 2026). One prefill, no
decoding; on a server that means `/completions` with `echo` and `logprobs`. With the weak model's own address these are
the weak model's doubts; a larger judge sees more. Scores are no probabilities until `trim eval-prm --recalibrate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Literal, Protocol

from trim.backends.client import Probe
from trim.errors import BadResponse
from trim.prompts import load_template
from trim.scoring.likelihood import LogprobSource, OpenAILogprobs
from trim.types import Question, Scores

Evidence = Literal["log-probability", "entropy"]


class TokenSource(LogprobSource, Protocol):
    """A causal model that also says how unsure it was of each step's first token."""

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of the distribution of each step's first token given everything before it."""
        ...


@dataclass(frozen=True)
class ConfidencePrm:
    """A `ProcessRewardModel` from a causal model's certainty.

    Args:
        source: gives log-probabilities and entropies; `EmbeddedJudge` and `OpenAILogprobs` are some.
        evidence: which of the two is the score.
    """

    source: TokenSource
    evidence: Evidence

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """A certainty in [0, 1] per step. `Scores.tokens` are those of the steps, for `entropy` one a step.

        Raises:
            BackendError: the source failed, or gave another number of steps.
        """
        if self.evidence == "entropy":
            values = tuple(exp(-entropy) for entropy in await self.source.first_token_entropies(question, steps))
            tokens = len(values)
        else:
            logprobs = await self.source.step_logprobs(question, steps)
            values = tuple(exp(sum(step) / max(1, len(step))) for step in logprobs)
            tokens = sum(map(len, logprobs))
        if len(values) != len(steps):
            raise BadResponse(f"{self.evidence} scorer", f"{len(values)} values for {len(steps)} steps")
        return Scores(tuple(min(value, 1.0) for value in values), tokens)

    async def probe(self) -> Probe:
        """What the source's server can do."""
        probe = getattr(self.source, "probe", None)
        return await probe() if probe is not None else Probe(f"{self.evidence} scorer", True)

    async def aclose(self) -> None:
        """Close the source."""
        if (close := getattr(self.source, "aclose", None)) is not None:
            await close()


def open_confidence(
    evidence: Evidence, model: str = "", base_url: str = "", api_key: str | None = None, template: str = "chatml"
) -> ConfidencePrm:
    """A scorer over a server's model or, without an address, an embedded one (empty: the weak model).

    Raises:
        ConfigError: there is no such model or template.
    """
    if base_url:
        return ConfidencePrm(OpenAILogprobs(base_url, model, load_template(template), api_key=api_key), evidence)
    from trim.backends.onnx import EmbeddedJudge

    return ConfidencePrm(EmbeddedJudge(model or "weak"), evidence)
