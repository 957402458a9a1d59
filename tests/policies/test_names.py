"""What a policy may be asked for as."""

from __future__ import annotations

import pytest

from trim.config import Config
from trim.errors import ConfigError
from trim.policies import RandomSteps, Spec, Threshold, build, sweep


def test_a_spec_has_ways_and_a_folder() -> None:
    assert Spec.parse("pomdp+snapshot+2=fits/a=b") == Spec("pomdp", 2, ("snapshot",), "fits/a=b")
    assert Spec.parse("threshold").name == "threshold"
    assert Spec.parse("pomdp+2+snapshot=x").name == "pomdp+snapshot+2"


def test_retries_are_part_of_the_name() -> None:
    assert build("threshold+2", 0.5) == Threshold(0.5, 2, "threshold+2")
    assert build("random+1", 0.7) == RandomSteps(0.7, 1, "random+1")
    assert build("threshold+redo+2", 0.5) == Threshold(0.5, 2, "threshold+redo+2", redos=2)
    assert sweep("threshold+2") == sweep("threshold")


@pytest.mark.parametrize(
    "name", ["always-weak+1", "threshold+soon", "always-weak+redo", "threshold=x", "thresh", "threshold+-1"]
)
def test_others_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="polic"):
        build(name, 0.5)


def test_more_retries_than_drafts_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_drafts of at least 10"):
        Config().build_policy("threshold+9")
