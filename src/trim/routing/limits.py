"""Limits of one solution, and what follows when a model fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class OnError:
    """What follows when a role fails after its client's retries: raise the error, or let the named model finish the
    solution. Every fallback stands in the trace (`Trace.fallbacks`).

    A text that a server does not take, too long for the model's context or stopped by a content filter, ends the
    solution where no fallback takes over, with the error in the trace (`Trace.error`): what is written is kept.
    `refused` is about a question of which nothing is written yet: raise the error, or stop there too, so that the other
    questions of a run go on. A content filter never leads to a fallback.
    """

    weak: Literal["raise", "strong"] = "raise"
    strong: Literal["raise", "weak"] = "raise"
    prm: Literal["raise", "weak", "strong"] = "raise"
    refused: Literal["raise", "stop"] = "raise"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one solution: kept steps, drafts per step, past which a RESAMPLE becomes a REGENERATE, and completion
    tokens of the kept text (None: no limit).
    """

    max_steps: int = 30
    max_drafts: int = 5
    lookahead: int = 1
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.max_drafts < 1 or self.lookahead < 0:
            raise ConfigError(f"max_steps and max_drafts must be at least 1 and lookahead at least 0: {self}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1: {self}")
