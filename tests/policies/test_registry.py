"""What a policy may be asked for as."""

from __future__ import annotations

import pytest

from trim.config.settings import Config
from trim.errors import ConfigError
from trim.policies import PolicySpec, RandomSteps, Threshold, build, sweep


def test_a_spec_has_ways_and_a_folder() -> None:
    assert PolicySpec.parse("pomdp+snapshot+2=fits/a=b") == PolicySpec("pomdp", 2, ("snapshot",), "fits/a=b")
    assert PolicySpec.parse("threshold").name == "threshold"
    assert PolicySpec.parse("pomdp+2+snapshot=x").name == "pomdp+snapshot+2"


def test_resamples_are_part_of_the_name() -> None:
    assert build("threshold+2", 0.5) == Threshold(0.5, 2, "threshold+2")
    assert build("random+1", 0.7) == RandomSteps(0.7, 1, "random+1")
    assert build("threshold+revise+2", 0.5) == Threshold(0.5, 2, "threshold+revise+2", max_revisions=2)
    assert sweep("threshold+2") == sweep("threshold")


@pytest.mark.parametrize(
    "name", ["always-weak+1", "threshold+soon", "always-weak+revise", "threshold=x", "thresh", "threshold+-1"]
)
def test_others_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="polic"):
        build(name, 0.5)


def test_more_resamples_than_drafts_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_drafts of at least 10"):
        Config().build_policy("threshold+9")
