"""The table of policy families: every row opens, matches its policy, and refuses options that it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from trim.config.policy import open_policy as open_configured
from trim.config.settings import Config
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.plugins import attribute
from trim.policies import FAMILIES, PolicyFamily, PolicySpec, RandomSteps, Threshold, open_policy, open_sweep
from trim.policies.artifacts import Models
from trim.policies.registry import Level, Need, Parameter, check, family_of, groups, known, listing, saved_by
from trim.protocols import Tunable
from trim.testing import check_policy

STEPS = [family for family in FAMILIES.values() if family.level is Level.STEP]
SOURCE = Path(__file__).parents[2] / "src" / "trim"


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_row_can_be_opened(family: PolicyFamily) -> None:
    assert callable(attribute(family.opener, "policy"))
    assert family.summary
    if family.parameter is None:
        assert family.sweep == (None,)
        return
    given = [*family.parameter.sweep, *((family.parameter.default,) if family.parameter.default is not None else ())]
    assert all(family.parameter.low <= value <= family.parameter.high for value in given)
    assert list(family.parameter.sweep) == sorted(set(family.parameter.sweep))


@pytest.mark.parametrize("family", STEPS, ids=lambda family: family.name)
def test_a_policy_is_what_its_row_says(family: PolicyFamily) -> None:
    spec = PolicySpec(family.name)
    policy = open_policy(spec, models=Models(**identities(Config())))
    check_policy(policy)
    assert policy.name == family.name
    assert isinstance(policy, Tunable) == family.tunable or family.name == "oracle"  # a threshold that is not moved
    scores = {Need.SCORES, Need.STRONG_JUDGE, Need.STEP_LABELS}
    assert policy.uses_scores == bool(family.needs & scores)
    swept = open_sweep(spec)
    if family.parameter is None:
        assert len(swept) == 1
        return
    assert len({other.parameter for other in swept}) == len(swept) >= (1 if family.name == "rsd" else 7)
    assert all(other.name == family.name for other in swept)


def test_options_are_part_of_the_name() -> None:
    assert open_policy(PolicySpec.parse("threshold+2"), 0.5) == Threshold(0.5, 2, "threshold+2")
    assert open_policy(PolicySpec.parse("random+1"), 0.7) == RandomSteps(0.7, 1, "random+1")
    found = open_policy(PolicySpec.parse("threshold+revise+2"))
    assert found == Threshold(0.5, 2, "threshold+revise+2", max_revisions=2)
    assert len(open_sweep(PolicySpec.parse("threshold+2"))) == len(FAMILIES["threshold"].sweep)


@pytest.mark.parametrize(
    ("name", "parameter", "words"),
    [
        ("always-weak+1", None, "has no resamples"),
        ("threshold+soon", None, "has no option soon; it has \\+N, \\+revise"),
        ("always-weak+revise", None, "has no option revise; it has none"),
        ("threshold=x", None, "is not read from a folder"),
        ("threshold+-1", None, "has no option -1"),
        ("threshold+N", None, "has no option N"),
        ("always-strong", 0.5, "has no parameter"),
        ("threshold", 1.5, r"the parameter k \(lowest score that is kept\) must lie in \[0, 1\], not 1.5"),
        ("glimp-router", -1, "must be 0 or more"),
        ("threshold", float("nan"), "must lie in"),
        ("thresh", None, "unknown policy 'thresh'; did you mean 'threshold'[?] There are policies: always-weak"),
        ("nonsense", None, "step-level baselines: oracle, rsd.*your own: FILE.py:NAME or MODULE:NAME"),
    ],
)
def test_options_that_a_family_lacks_are_refused(name: str, parameter: float | None, words: str) -> None:
    for refuses in (check, open_policy):
        with pytest.raises(ConfigError, match=words):
            refuses(PolicySpec.parse(name), parameter)


def test_query_level_methods_are_not_step_policies() -> None:
    with pytest.raises(ConfigError, match="whole questions: it is there for trim eval"):
        open_policy(PolicySpec("automix"))


def test_a_trained_method_needs_its_folder() -> None:
    from trim.policies.registry import folder_of

    with pytest.raises(ConfigError, match="needs the folder that `trim fit router classifier` wrote: classifier=F"):
        folder_of(PolicySpec("classifier"))
    assert folder_of(PolicySpec("pomdp")).joinpath("policy.json").is_file()


def test_every_family_is_listed_once() -> None:
    listed = [name for names in groups().values() for name in names]
    assert sorted(listed) == sorted(FAMILIES)
    assert all(name in listing() for name in FAMILIES)
    assert "automix" not in listing(lambda family: family.level is Level.STEP)
    assert saved_by("trim train") == ("agg", "seq")


def test_results_are_looked_up_by_their_name() -> None:
    assert known("pomdp+snapshot+2") is FAMILIES["pomdp"]
    assert known("patient") is None
    assert family_of(PolicySpec("random")).parameter == Parameter(
        "rate", "share of steps that are rewritten", 0, 1, 0.5, tuple(n / 10 for n in range(1, 10)), False, 0, 1
    )


def test_more_resamples_than_drafts_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_drafts of at least 10"):
        open_configured(Config(), "threshold+9")


def test_reading_the_table_imports_no_policy() -> None:
    """What opens a family is named by a text; nothing heavy stands at the top of the registry."""
    lines = (SOURCE / "policies" / "registry.py").read_text().splitlines()
    assert not [line for line in lines if line.startswith(("import numpy", "from trim.baselines", "from trim.pomdp"))]
