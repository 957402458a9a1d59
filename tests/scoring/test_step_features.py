"""What comes with a step, as numbers."""

from __future__ import annotations

from math import log

from trim.scoring.step_features import ENTROPIES, FEATURES, LOGPROBS
from trim.types import Finish, Role, Step

STEP = Step(
    "3 + 4 = 8\n\n",
    Role.WEAK,
    8,
    Finish.EOS,
    logprob=-0.3,
    least_logprob=-2.5,
    mean_entropy=0.4,
    most_entropy=1.5,
    uncertain=0.25,
)


def test_features_are_of_the_step_and_its_place() -> None:
    found = {name: feature(STEP, 2) for name, feature in FEATURES.items()}
    assert found == {
        "logprob": -0.3,
        "least_logprob": -2.5,
        "log_tokens": log(8),
        "log_position": log(3),
        "mean_entropy": 0.4,
        "most_entropy": 1.5,
        "uncertain": 0.25,
        "last": 1.0,
        "false_equations": 1.0,
    }


def test_what_is_not_told_is_not_made_up() -> None:
    bare = Step("x", Role.WEAK, 0)
    assert {name for name, feature in FEATURES.items() if feature(bare, 0) is None} == LOGPROBS | ENTROPIES
    assert FEATURES["last"](bare, 0) == FEATURES["false_equations"](bare, 0) == 0.0
    assert FEATURES["log_tokens"](bare, 0) == 0.0
