"""What a fitted judge may know of a step: numbers that come with it, by name. No further request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log

from trim.types import Step

Feature = Callable[[Step, int], float | None]
"""Of a step and its index in the solution; None: its server does not tell."""

FEATURES: Mapping[str, Feature] = {
    "logprob": lambda step, index: step.logprob,
    "least_logprob": lambda step, index: step.least_logprob,
    "log_tokens": lambda step, index: log(max(1, step.tokens)),
    "log_position": lambda step, index: log(1 + index),
}
"""Log-probabilities are natural, the mean and the least of a step's tokens."""
