"""SpecReason: grades of 0 to 9."""

from __future__ import annotations

import pytest

from trim.baselines.step_level.spec_reason import SpecReason
from trim.errors import ConfigError
from trim.policies import FAMILIES
from trim.types import Action, Observation


def test_a_grade_is_nine_times_the_score() -> None:
    seen = Observation((0.6,), (20,))  # 9 * 0.6 = 5.4
    assert SpecReason(5).act(seen) is Action.CONTINUE
    assert SpecReason(6).act(seen) is Action.REGENERATE


def test_the_constant_of_the_paper_is_the_class_s_and_in_the_sweep() -> None:
    assert SpecReason().parameter == 7
    assert 7 in FAMILIES["spec-reason"].sweep
    with pytest.raises(ConfigError, match="spec-reason: the grade must lie in 0 to 9"):
        SpecReason(10)
