"""Policies: pure functions from an observation to an action, each with one number that trades accuracy for cost.

What there is stands in `trim.policies.registry`; how one is asked for in `trim.policies.spec`.
"""

from trim.policies.fixed import AlwaysStrong, AlwaysWeak, RandomSteps
from trim.policies.registry import FAMILIES, PolicyFamily, open_policy, open_sweep
from trim.policies.spec import PolicySpec
from trim.policies.threshold import Threshold

__all__ = [
    "FAMILIES",
    "AlwaysStrong",
    "AlwaysWeak",
    "PolicyFamily",
    "PolicySpec",
    "RandomSteps",
    "Threshold",
    "open_policy",
    "open_sweep",
]
