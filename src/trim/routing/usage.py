"""What one question has used so far: tokens, requests and busy seconds of every role."""

from __future__ import annotations

from dataclasses import dataclass, field

from trim.types import Role, Step, Usage


@dataclass(slots=True)
class Ledger:
    """Usage and busy seconds of every role for one question."""

    usage: dict[Role, Usage] = field(default_factory=lambda: {role: Usage() for role in Role})
    busy: dict[Role, float] = field(default_factory=lambda: dict.fromkeys(Role, 0.0))

    def read(self, step: Step) -> None:
        """Charge a step that a model has written."""
        usage = self.usage[step.role]
        usage.prompt_tokens += step.prompt_tokens
        usage.cached_tokens += step.cached_tokens
        usage.completion_tokens += step.tokens

    def discard(self, role: Role, tokens: int, unread: int = 0) -> None:
        """Tokens that won't be kept: `tokens` of steps read before, `unread` of a step that was never finished."""
        usage = self.usage[role]
        usage.discarded_tokens += tokens + unread
        usage.completion_tokens += unread
