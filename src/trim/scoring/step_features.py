"""What a fitted judge may know of a step: numbers that come with it, by name. No further request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log

from trim.scoring.equations import false_equations
from trim.types import Finish, Step

Feature = Callable[[Step, int], float | None]
"""Of a step and its index in the solution; None: its server does not tell."""

FEATURES: Mapping[str, Feature] = {
    "logprob": lambda step, index: step.logprob,
    "least_logprob": lambda step, index: step.least_logprob,
    "log_tokens": lambda step, index: log(max(1, step.tokens)),
    "log_position": lambda step, index: log(1 + index),
    "mean_entropy": lambda step, index: step.mean_entropy,
    "most_entropy": lambda step, index: step.most_entropy,
    "uncertain": lambda step, index: step.uncertain,
    "last": lambda step, index: float(step.finish is Finish.EOS),
    "false_equations": lambda step, index: float(false_equations(step.content)),
}
"""Log-probabilities are natural, the mean and the least of a step's tokens; entropies as `trim.types.Step` has them;
`last`: the step ends its solution; `false_equations`: how many the step states."""

LOGPROBS = frozenset({"logprob", "least_logprob"})
ENTROPIES = frozenset({"mean_entropy", "most_entropy", "uncertain"})
"""Features of the likeliest tokens, which servers tell on request."""
