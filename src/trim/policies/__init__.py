"""Policies: pure functions from an observation to an action, and the table of their families.

`trim.policies.registry` lists them, `trim.policies.spec` says how one is asked for.
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
