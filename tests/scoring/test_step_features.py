"""What comes with a step, as numbers."""

from __future__ import annotations

from math import log

from trim.scoring.step_features import FEATURES
from trim.types import Role, Step

STEP = Step("3 + 4 = 7\n\n", Role.WEAK, 8, logprob=-0.3, least_logprob=-2.5)


def test_features_are_of_the_step_and_its_place() -> None:
    found = {name: feature(STEP, 2) for name, feature in FEATURES.items()}
    assert found == {
        "logprob": -0.3,
        "least_logprob": -2.5,
        "log_tokens": log(8),
        "log_position": log(3),
    }


def test_what_is_not_told_is_not_made_up() -> None:
    bare = Step("x", Role.WEAK, 0)
    assert (FEATURES["logprob"](bare, 0), FEATURES["least_logprob"](bare, 0)) == (None, None)
    assert FEATURES["log_tokens"](bare, 0) == 0.0
