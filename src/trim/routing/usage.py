"""What one question has used so far: what its requests took, what it is charged for, busy seconds of every role."""

from __future__ import annotations

from dataclasses import dataclass, field

from trim.backends.token_counts import as_count, sound
from trim.protocols import LateCounts
from trim.routing.charges import Charges
from trim.types import Role, Scores, Step, Usage


@dataclass(slots=True)
class Ledger:
    """Usage and busy seconds of every role for one question.

    `usage` is measured: all that its requests took, with drafts that were read ahead and never decided on and with what
    the servers' caches held, so that it depends on timing. `charged` is counted by rule.

    Models and judges of any kind are counted here, so nothing but counts gets in: what is none is 0 and marks the usage
    as estimated, and there are never more cached than prompt tokens or more discarded than completion tokens.
    """

    usage: dict[Role, Usage] = field(default_factory=lambda: {role: Usage() for role in Role})
    charged: Charges = field(default_factory=Charges)
    busy: dict[Role, float] = field(default_factory=lambda: dict.fromkeys(Role, 0.0))

    def read(self, step: Step) -> Step:
        """Count a step that a model has written; the same step, with nothing but counts in it."""
        usage, read = self.usage[step.role], sound(step)
        usage.prompt_tokens += read.prompt_tokens
        usage.cached_tokens += read.cached_tokens
        usage.completion_tokens += read.tokens
        usage.estimated = usage.estimated or read is not step
        return read

    def score(self, scores: Scores) -> None:
        """Count what a judge has read and written."""
        usage, tokens, written = self.usage[Role.PRM], as_count(scores.tokens), as_count(scores.completion)
        usage.prompt_tokens += tokens or 0
        usage.completion_tokens += written or 0
        usage.estimated = usage.estimated or scores.estimated or None in (tokens, written)

    def discard(self, role: Role, tokens: int, unread: int = 0) -> None:
        """Tokens that won't be kept: `tokens` of steps read before, `unread` of a step that was never finished."""
        usage = self.usage[role]
        usage.discarded_tokens += tokens + unread
        usage.completion_tokens += unread

    def correct(self, role: Role, late: LateCounts) -> None:
        """Charge what a stream that is closed has used besides its steps, or take back what they had too much."""
        usage = self.usage[role]
        usage.prompt_tokens = max(0, usage.prompt_tokens + late.prompt)
        usage.cached_tokens = min(max(0, usage.cached_tokens + late.cached), usage.prompt_tokens)
        usage.completion_tokens = max(0, usage.completion_tokens + late.completion)
        usage.discarded_tokens = min(max(0, usage.discarded_tokens), usage.completion_tokens)
        usage.estimated = usage.estimated or late.estimated
