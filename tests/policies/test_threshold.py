"""The threshold on a draft's score, and the quantile that a target share moves it by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.errors import ConfigError
from trim.policies import Threshold
from trim.policies.threshold import oracle, score_quantile
from trim.types import Action, Observation


@given(st.floats(0, 1), st.floats(0, 1))
def test_scores_below_k_are_rejected(k: float, score: float) -> None:
    action = Threshold(k).act(Observation((score,), (20,)))
    assert action is (Action.REGENERATE if score < k else Action.CONTINUE)


def test_resamples_come_first_and_revisions_last() -> None:
    policy = Threshold(0.5, resamples=1, max_revisions=1)
    assert policy.act(Observation((0.2,), (20,), drafts=1)) is Action.RESAMPLE
    assert policy.act(Observation((0.2,), (20,), drafts=2)) is Action.REGENERATE
    assert policy.act(Observation((0.2,), (20,), strong_scores=((0.2,),))) is Action.REVISE
    assert policy.act(Observation((0.6,), (20,), strong_scores=((0.6,),))) is Action.CONTINUE


def test_at_its_ends_it_asks_for_nothing() -> None:
    assert (Threshold(0.0).uses_scores, Threshold(1.0).uses_scores) == (False, False)
    assert (Threshold(0.0).uses_drafts, Threshold(1.0).uses_drafts) == (True, False)
    assert Threshold(0.0).act(Observation((), (20,))) is Action.CONTINUE


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="threshold must lie"):
        Threshold(1.2)
    with pytest.raises(ConfigError, match="resamples"):
        Threshold(0.5, resamples=-1)


def test_the_quantile_lies_between_neighbours() -> None:
    scores = [index / 20 for index in range(21)]
    assert [score_quantile(share, scores) for share in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert score_quantile(0.025, scores) == pytest.approx(0.025)
    assert score_quantile(0.2, [*scores[:18], 0.9]) == 0.5  # 19 say nothing


def test_the_oracle_is_a_threshold_on_labels() -> None:
    assert oracle().act(Observation((0.0,), (20,))) is Action.REGENERATE
    assert oracle().act(Observation((1.0,), (20,))) is Action.CONTINUE
